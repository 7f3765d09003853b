//! Who asks, and what they may see of others.

use quell_policy::{Mode, Owner, TenantId, Tri};

use super::permit::Authority;

/// Who asks quell for something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// Whoever runs the command line, by the operator's right: `cli:ann`.
    CommandLine(String),
    /// A caller of the REST interface.
    Caller {
        /// Its `auth_id`.
        id: TenantId,
        /// Whether that is one of `QUELL_OPERATOR_IDS`.
        is_operator: bool,
    },
}

impl Principal {
    /// Whose policies it means by `named`: an operator may name any owner, a tenant itself alone. The
    /// operator is what is meant where no owner is named; a tenant then means itself.
    #[must_use]
    pub fn owner(&self, named: Owner) -> Option<Owner> {
        match self.viewer() {
            Viewer::Operator => Some(named),
            Viewer::Tenant(own) => {
                let is_own = named.tenant().is_none_or(|named| *named == own);
                is_own.then_some(Owner::Tenant(own))
            }
        }
    }

    /// Whose eyes its answers are for.
    #[must_use]
    pub fn viewer(&self) -> Viewer {
        match self {
            Self::Caller {
                id,
                is_operator: false,
            } => Viewer::Tenant(id.clone()),
            Self::Caller {
                is_operator: true, ..
            }
            | Self::CommandLine(_) => Viewer::Operator,
        }
    }

    /// The authority by which it sees live rooms, which is the one that it would mute by.
    #[must_use]
    pub fn authority(&self) -> Authority {
        match self {
            Self::CommandLine(user) => Authority::CommandLine(user.clone()),
            Self::Caller { id, .. } => Authority::Caller {
                id: Some(id.clone()),
            },
        }
    }
}

/// Whose eyes an answer is for: the operator sees everything, a tenant its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Viewer {
    /// Whoever runs quell.
    Operator,
    /// A tenant.
    Tenant(TenantId),
}

impl Viewer {
    /// The tenant that sees only its own; none is the operator.
    #[must_use]
    pub fn tenant(&self) -> Option<&TenantId> {
        match self {
            Self::Operator => None,
            Self::Tenant(tenant) => Some(tenant),
        }
    }

    /// Whether the whole of an owner's policy may be read: its document, clauses and reasons.
    #[must_use]
    pub fn may_read(&self, owner: &Owner) -> bool {
        self.tenant()
            .is_none_or(|tenant| owner.tenant() == Some(tenant))
    }

    /// Whether a policy's name may be told. Of the operator's policies, a tenant's audit names those that
    /// apply to its rooms.
    #[must_use]
    pub fn may_know_of(&self, owner: &Owner, mode: Mode, applies: Tri) -> bool {
        self.may_read(owner) || owner.is_operator() && mode != Mode::Off && applies != Tri::False
    }

    /// Whether a room of `tenant` (none: a room of no tenant), its participants and its events may be seen.
    #[must_use]
    pub fn may_see_room(&self, tenant: Option<&TenantId>) -> bool {
        self.tenant().is_none_or(|own| tenant == Some(own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_means_its_own_policies_alone_and_an_operator_any() {
        let tenant = |id: &str| Owner::Tenant(TenantId::new(id).unwrap());
        let caller = |is_operator| Principal::Caller {
            id: TenantId::new("acme").unwrap(),
            is_operator,
        };
        for (principal, named, means) in [
            (caller(false), Owner::Operator, Some(tenant("acme"))),
            (caller(false), tenant("acme"), Some(tenant("acme"))),
            (caller(false), tenant("ACME"), None),
            (caller(true), Owner::Operator, Some(Owner::Operator)),
            (caller(true), tenant("globex"), Some(tenant("globex"))),
        ] {
            assert_eq!(
                principal.owner(named.clone()),
                means,
                "{principal:?} {named:?}"
            );
        }
    }

    #[test]
    fn a_tenant_sees_its_own_and_the_names_of_the_operators_that_apply() {
        let tenant = |id: &str| TenantId::new(id).unwrap();
        let acme = Viewer::Tenant(tenant("acme"));
        let (acmes, globexs) = (
            Owner::Tenant(tenant("acme")),
            Owner::Tenant(tenant("globex")),
        );
        let on = Mode::Enforce;
        for (viewer, owner, mode, applies, reads, knows) in [
            (
                &Viewer::Operator,
                &globexs,
                Mode::Off,
                Tri::False,
                true,
                true,
            ),
            (
                &Viewer::Operator,
                &Owner::Operator,
                on,
                Tri::True,
                true,
                true,
            ),
            (&acme, &acmes, Mode::Off, Tri::False, true, true),
            (&acme, &globexs, on, Tri::True, false, false),
            (&acme, &Owner::Operator, on, Tri::True, false, true),
            (
                &acme,
                &Owner::Operator,
                Mode::DryRun,
                Tri::Unknown,
                false,
                true,
            ),
            (&acme, &Owner::Operator, on, Tri::False, false, false),
            (&acme, &Owner::Operator, Mode::Off, Tri::True, false, false),
        ] {
            let case = format!("{viewer:?} {owner:?} {mode:?} {applies:?}");
            assert_eq!(viewer.may_read(owner), reads, "{case}");
            assert_eq!(viewer.may_know_of(owner, mode, applies), knows, "{case}");
        }
        for (viewer, room, sees) in [
            (&Viewer::Operator, None, true),
            (&Viewer::Operator, Some(tenant("globex")), true),
            (&acme, Some(tenant("acme")), true),
            (&acme, Some(tenant("ACME")), false),
            (&acme, Some(tenant("acme ")), false),
            (&acme, None, false),
        ] {
            assert_eq!(
                viewer.may_see_room(room.as_ref()),
                sees,
                "{viewer:?} {room:?}"
            );
        }
    }
}
