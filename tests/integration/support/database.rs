//! A database for each test, copied from one that is migrated once.

use quell::config::Config;
use quell::postgres::Database;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool};
use tokio::sync::OnceCell;
use url::Url;
use uuid::Uuid;

use super::TestApp;

/// A database of its own.
pub(crate) struct TestDatabase {
    name: String,
    url: String,
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests are told by the environment where Postgres is, not by quell's settings"
)]
fn server() -> Url {
    let url = std::env::var("QUELL_TEST_DATABASE_URL")
        .expect("QUELL_TEST_DATABASE_URL is not set: run the tests by `make test`");
    Url::parse(&url).unwrap()
}

/// A superuser's connection.
pub(crate) async fn admin() -> PgConnection {
    PgConnection::connect(server().as_str()).await.unwrap()
}

fn url_of(database: &str) -> String {
    let mut url = server();
    url.set_path(database);
    url.into()
}

async fn template() -> &'static str {
    static TEMPLATE: OnceCell<String> = OnceCell::const_new();
    TEMPLATE
        .get_or_init(|| async {
            let name = new_name("template");
            create(&name, "template0").await;
            let url = url_of(&name);
            let config = [("DATABASE_URL", url)].into_iter().collect();
            let config = Config::from_environment(&config).unwrap();
            let database = Database::open(&config.database, std::future::pending()).await;
            database.unwrap().unwrap().close().await;
            name
        })
        .await
}

fn new_name(kind: &str) -> String {
    format!("quell_{kind}_{}", Uuid::now_v7().simple())
}

async fn create(name: &str, template: &str) {
    let mut admin = admin().await;
    let create = format!("create database {name} template {template}");
    admin.execute(AssertSqlSafe(create)).await.unwrap();
    admin.close().await.unwrap();
}

impl TestDatabase {
    pub(crate) async fn create() -> Self {
        let name = new_name("test");
        create(&name, template().await).await;
        Self {
            url: url_of(&name),
            name,
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A login for the service that is nobody else's, and the URL with it.
    pub(crate) async fn service_login(&self) -> (String, String) {
        let login = format!("{}_service", self.name);
        let mut owner = PgConnection::connect(&self.url).await.unwrap();
        let create = format!("create role {login} login; select quell_grant_service('{login}')");
        owner.execute(AssertSqlSafe(create)).await.unwrap();
        owner.close().await.unwrap();
        let mut url = Url::parse(&self.url).unwrap();
        url.set_username(&login).unwrap();
        (login, url.into())
    }

    pub(crate) async fn pool(&self) -> PgPool {
        let pool = PgPoolOptions::new().max_connections(8);
        pool.connect(&self.url).await.unwrap()
    }

    pub(crate) async fn drop(self) {
        let mut admin = admin().await;
        let drop = format!("drop database {} with (force)", self.name);
        admin.execute(AssertSqlSafe(drop)).await.unwrap();
        admin.close().await.unwrap();
    }
}

impl TestApp {
    /// The same of the app's database.
    pub(crate) async fn service_login(&self) -> (String, String) {
        self.database.as_ref().unwrap().service_login().await
    }
}
