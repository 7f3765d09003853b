//! `quell audit grant`: what to run so that a tenant reads its own rows with SQL.

use clap::Args;

use crate::cli::policy::output::print_out;
use quell_policy::TenantId;

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// The tenant: the `auth_id` in the metadata of its rooms
    #[arg(value_parser = TenantId::new)]
    tenant: TenantId,
    /// The name of its login; `TENANT_audit` without it
    #[arg(long, value_name = "NAME")]
    login: Option<String>,
}

/// The most bytes of a name in Postgres.
const NAME_BYTES_MAX: usize = 63;

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let login = arguments.login.clone();
    let login = login.unwrap_or_else(|| format!("{}_audit", arguments.tenant.as_str()));
    if login.is_empty() || login.len() > NAME_BYTES_MAX || login.contains(char::is_control) {
        anyhow::bail!(
            "a login has 1 to {NAME_BYTES_MAX} bytes and no control characters: name another with --login"
        );
    }
    print_out(&sql(arguments.tenant.as_str(), &login))
}

fn sql(tenant: &str, login: &str) -> String {
    let name = format!("\"{}\"", login.replace('"', "\"\""));
    let text = |text: &str| format!("'{}'", text.replace('\'', "''"));
    format!(
        "-- As an administrator of quell's database. Choose a password; psql asks for it.\n\
         create role {name} login connection limit 4;\n\
         alter role {name} set statement_timeout = '60s';\n\
         alter role {name} set idle_in_transaction_session_timeout = '10s';\n\
         alter role {name} set default_transaction_read_only = on;\n\
         \\password {name}\n\
         grant quell_tenant to {name};\n\
         insert into audit_reader (login, tenant) values ({}, {})\n    \
             on conflict (login) do update set tenant = excluded.tenant;\n",
        text(login),
        text(tenant),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted() {
        let sql = sql("o'hara", "a\"b");
        assert!(
            sql.contains("create role \"a\"\"b\" login connection limit 4;"),
            "{sql}"
        );
        assert!(sql.contains("values ('a\"b', 'o''hara')"), "{sql}");
    }
}
