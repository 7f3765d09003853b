//! A data folder with quell's database and its two logins, and the Postgres that runs on it.

use std::fmt;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, query_scalar, raw_sql};

use super::instance::{Instance, lock};
use super::place::Place;
use super::survey::Survey;
use crate::config::DatabaseConfig;
use crate::postgres::connect::bounded;
use crate::postgres::data::{self, Holds};
use crate::postgres::error::LocalPostgresError;
use crate::postgres::files;

const OWNER: &str = "quell_owner";
const SERVICE: &str = "quell";
const DATABASE: &str = "quell";

/// How often opening is tried again where somebody else stops it just then.
const ATTEMPTS_MAX: u32 = 3;
/// To make the two logins and the database.
const PREPARE_TIMEOUT: Duration = Duration::from_mins(1);

/// A Postgres on this machine, with quell's database and its two logins.
pub struct LocalPostgres {
    /// The service's login, which owns nothing.
    pub service: PgConnectOptions,
    /// The owner's login, which migrates.
    pub owner: PgConnectOptions,
    pub(super) config: DatabaseConfig,
    pub(in crate::postgres) psql: String,
    pub(super) instance: Instance,
}

impl fmt::Debug for LocalPostgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalPostgres")
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}

impl LocalPostgres {
    /// Starts Postgres, or finds the one that runs on the data folder already.
    pub async fn start(config: &DatabaseConfig) -> Result<Self, LocalPostgresError> {
        let (mut local, survey) = Self::at_rest(config).await?;
        match local.bring_up(&survey).await {
            Ok(()) => Ok(local),
            Err(error) => {
                local.stop().await;
                Err(error)
            }
        }
    }

    /// One that was not started yet, nor looked for. Its folder is there.
    pub(in crate::postgres) async fn at_rest(
        config: &DatabaseConfig,
    ) -> Result<(Self, Survey), LocalPostgresError> {
        let survey = Survey::of(config).await?;
        let folder = data::create(&survey.folder, survey.account.as_ref())?;
        let instance = Instance::new(folder, &survey)?;
        let psql = survey.programs.psql(&config.search_path);
        Ok((Self::on(instance, config, psql), survey))
    }

    /// Starts it, or finds the one that runs already. What was begun is kept where this fails or is
    /// not waited for to its end: [`LocalPostgres::stop`] ends it.
    pub(in crate::postgres) async fn bring_up(
        &mut self,
        survey: &Survey,
    ) -> Result<(), LocalPostgresError> {
        // Of two that start at once the second waits here, and then finds the first one's.
        let lock = lock(&self.instance.folder).await?;
        let folder = &self.instance.folder;
        let data = folder.display().to_string();
        if !matches!(data::inspect(folder)?, Holds::Cluster { .. }) {
            tracing::info!(data, "making a new Postgres data folder");
            data::initialize(folder, &survey.programs, survey.account.as_ref()).await?;
        }
        for attempt in 1.. {
            self.start_or_find(survey).await?;
            let Err(error) = bounded(PREPARE_TIMEOUT, prepare(&self.instance.place)).await else {
                break;
            };
            // Whoever had started it may have stopped it just now.
            if attempt == ATTEMPTS_MAX || !self.instance.is_gone().await {
                let data = self.instance.folder.clone();
                return Err(LocalPostgresError::Prepare { data, error });
            }
        }
        drop(lock);
        if self.instance.is_ours() {
            let version = &survey.programs.version;
            tracing::info!(data, version, "started the machine's own Postgres");
        } else {
            tracing::info!(data, "using the Postgres that runs already");
        }
        Ok(())
    }

    /// The one that runs on `config`'s data folder already; starts and makes nothing.
    pub async fn find_running(config: &DatabaseConfig) -> Result<Option<Self>, LocalPostgresError> {
        let folder = data::folder(config)?;
        let folder = match folder.canonicalize() {
            Ok(folder) => folder,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(files::io("find", &folder)(error)),
        };
        let found = Instance::find(folder).await?;
        Ok(found.map(|instance| Self::on(instance, config, "psql".to_owned())))
    }

    fn on(instance: Instance, config: &DatabaseConfig, psql: String) -> Self {
        Self {
            service: instance.place.login(SERVICE, DATABASE),
            owner: instance.place.login(OWNER, DATABASE),
            config: config.clone(),
            psql,
            instance,
        }
    }

    /// Starts one that ended again, or takes the one that somebody else started meanwhile.
    pub(super) async fn start_again(&mut self) -> Result<(), LocalPostgresError> {
        let survey = Survey::of(&self.config).await?;
        if survey.is_new {
            return Err(LocalPostgresError::DataGone {
                folder: survey.folder,
            });
        }
        let _lock = lock(&self.instance.folder).await?;
        self.start_or_find(&survey).await
    }

    async fn start_or_find(&mut self, survey: &Survey) -> Result<(), LocalPostgresError> {
        let connections_max = self.config.connections_max;
        self.instance.bring_up(survey, connections_max).await?;
        self.service = self.instance.place.login(SERVICE, DATABASE);
        self.owner = self.instance.place.login(OWNER, DATABASE);
        Ok(())
    }

    /// The data folder.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.instance.folder
    }

    /// Whether we started it, and so stop it.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.instance.is_ours()
    }

    /// Whether we have started it, and it does not answer yet.
    pub(in crate::postgres) fn is_coming_up(&self) -> bool {
        self.instance.is_coming_up()
    }

    /// Whether it has ended, or is about to.
    pub(in crate::postgres) async fn is_gone(&mut self) -> bool {
        self.instance.is_gone().await
    }

    /// What a person types to open `psql` on the database, as the same user or as root.
    #[must_use]
    pub fn psql_hint(&self) -> String {
        let options = self.instance.place.psql_options();
        format!("{} {options} -U {SERVICE} {DATABASE}", self.psql)
    }

    /// Stops it where we started it. Sessions that are open are ended.
    pub async fn stop(self) {
        self.instance.stop().await;
    }
}

/// Makes the two logins and the database where they are missing.
async fn prepare(place: &Place) -> Result<(), sqlx::Error> {
    let mut connection = place.connect().await?;
    raw_sql(
        "do $$ begin
            if not exists (select from pg_roles where rolname = 'quell_owner') then
                -- It makes the role of the auditors.
                create role quell_owner login createrole;
            end if;
            if not exists (select from pg_roles where rolname = 'quell') then
                create role quell login;
            end if;
        end $$",
    )
    .execute(&mut connection)
    .await?;
    let made = query_scalar!(
        r#"select exists (select from pg_database where datname = $1) as "made!""#,
        DATABASE
    )
    .fetch_one(&mut connection)
    .await?;
    if !made {
        raw_sql("create database quell owner quell_owner")
            .execute(&mut connection)
            .await?;
    }
    connection.close().await
}
