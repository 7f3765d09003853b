//! Trouble on demand: which calls are delayed, refused, left hanging or cut off, and how often.

use std::time::Duration;

/// The calls that the double answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// `ListRooms`
    ListRooms,
    /// `ListParticipants`
    ListParticipants,
    /// `GetParticipant`
    GetParticipant,
    /// `MutePublishedTrack`
    MutePublishedTrack,
    /// `UpdateParticipant`
    UpdateParticipant,
    /// `SendData`
    SendData,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 6] = [
        Self::ListRooms,
        Self::ListParticipants,
        Self::GetParticipant,
        Self::MutePublishedTrack,
        Self::UpdateParticipant,
        Self::SendData,
    ];

    /// The method's name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ListRooms => "ListRooms",
            Self::ListParticipants => "ListParticipants",
            Self::GetParticipant => "GetParticipant",
            Self::MutePublishedTrack => "MutePublishedTrack",
            Self::UpdateParticipant => "UpdateParticipant",
            Self::SendData => "SendData",
        }
    }

    /// The method of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The call is answered as usual, this much later. Several add up, and go before the others.
    Latency(Duration),
    /// 401 `unauthenticated`, as of a key that LiveKit has no more; nothing is done.
    Unauthorized,
    /// 503 `unavailable` at once; nothing is done.
    Unavailable,
    /// No answer, ever; nothing is done.
    Hang,
    /// The call IS carried out, and the connection is closed in the middle of its answer.
    Cut,
    /// A proxy's 502 with an HTML page; nothing is done.
    Html502,
}

/// One fault: where, what and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The method that fails; all of them where there is none.
    pub method: Option<Method>,
    /// What goes wrong.
    pub kind: FaultKind,
    /// How many calls it hits before it is gone; every one where there is no number.
    pub times: Option<u32>,
}

impl Fault {
    /// A fault of every call to every method.
    #[must_use]
    pub fn all(kind: FaultKind) -> Self {
        Self {
            method: None,
            kind,
            times: None,
        }
    }

    /// A fault of every call to `method`.
    #[must_use]
    pub fn of(method: Method, kind: FaultKind) -> Self {
        Self {
            method: Some(method),
            ..Self::all(kind)
        }
    }

    /// The same fault, hitting `times` calls only.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self {
            times: Some(times),
            ..self
        }
    }
}

/// What one call meets.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trouble {
    /// Wait this long first.
    pub(super) latency: Duration,
    /// Then fail so.
    pub(super) kind: Option<FaultKind>,
}

/// Takes what a call to `method` meets, counting it off; the first fault that fits wins.
pub(super) fn take(faults: &mut Vec<Fault>, method: Method) -> Trouble {
    let mut trouble = Trouble::default();
    for fault in faults.iter_mut() {
        if fault.method.is_some_and(|wanted| wanted != method) || fault.times == Some(0) {
            continue;
        }
        match fault.kind {
            FaultKind::Latency(by) => trouble.latency += by,
            FaultKind::Unauthorized
            | FaultKind::Unavailable
            | FaultKind::Hang
            | FaultKind::Cut
            | FaultKind::Html502 => {
                if trouble.kind.is_some() {
                    continue;
                }
                trouble.kind = Some(fault.kind);
            }
        }
        fault.times = fault.times.map(|left| left.saturating_sub(1));
    }
    faults.retain(|fault| fault.times != Some(0));
    trouble
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_hits_its_method_its_number_of_times() {
        let mute = Method::MutePublishedTrack;
        let mut faults = vec![
            Fault::of(mute, FaultKind::Hang).times(1),
            Fault::all(FaultKind::Latency(Duration::from_millis(5))).times(2),
            Fault::all(FaultKind::Unavailable).times(1),
        ];
        let mut met = |method| {
            let trouble = take(&mut faults, method);
            (trouble.latency.as_millis(), trouble.kind)
        };
        assert_eq!(met(mute), (5, Some(FaultKind::Hang)));
        assert_eq!(met(Method::ListRooms), (5, Some(FaultKind::Unavailable)));
        assert_eq!(met(mute), (0, None));
        assert!(faults.is_empty(), "spent faults are dropped");
    }
}
