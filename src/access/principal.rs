//! Who asks, and what they may see of others.

use quell_policy::{Mode, Owner, TenantId, Tri};

use super::permit::Authority;

/// Who asks quell for something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// The command line, by the operator's right.
    CommandLine,
    /// A caller of the REST interface.
    Caller {
        /// Its `auth_id`.
        id: TenantId,
        /// Whether that is one of `QUELL_OPERATOR_IDS`.
        is_operator: bool,
    },
}

impl Principal {
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
            | Self::CommandLine => Viewer::Operator,
        }
    }

    /// The authority by which it sees live rooms, which is the one that it would mute by.
    #[must_use]
    pub fn authority(&self) -> Authority {
        match self {
            Self::CommandLine => Authority::PolicyOwner(Owner::Operator),
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
