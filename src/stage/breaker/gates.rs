//! Which gates there are: the one that a failure opens, and those that could stand before an attempt.

use std::sync::Arc;

use super::{
    effect::Reach,
    members::{Base, Caller, Holder, Members},
};
use crate::{
    call::{Target, TargetId},
    config::UpstreamKey,
    triage::Scope,
};

/// What a gate closes off.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum GateKey {
    KeyAtTarget(TargetId, Holder),
    Key(Base, Holder),
    Project(Base, Arc<str>),
    Organization(Base, Arc<str>),
}

// === impl Members ===

impl Members {
    /// The gate that a failure opens. What is not known to belong to a project or an organisation is closed by itself.
    pub(super) fn gate_for(
        &self,
        target: &Target,
        caller: Caller,
        reach: Reach,
    ) -> (GateKey, Scope, Arc<str>) {
        let upstream = &*target.upstream;
        let (base, holder) = (self.base(upstream), self.holder(upstream, caller));
        let mut member = self.of(base, holder);
        // What an answer named is what is billed; until one has, the configuration's word is taken.
        member.organization = member
            .organization
            .or_else(|| word(upstream.organization.as_ref()));
        member.project = member.project.or_else(|| word(upstream.project.as_ref()));
        let key = || {
            let name = if upstream.key == UpstreamKey::Passthrough {
                format!("caller's key {}", caller.key)
            } else {
                "own key".into()
            };
            (GateKey::Key(base, holder), Scope::Key, Arc::from(name))
        };
        match (reach, member.project, member.organization) {
            (Reach::KeyAtTarget, ..) => (
                GateKey::KeyAtTarget(target.id, holder),
                Scope::Model,
                Arc::clone(&target.label),
            ),
            (Reach::Project, Some(project), _) => (
                GateKey::Project(base, Arc::clone(&project)),
                Scope::Project,
                project,
            ),
            (Reach::Organization, _, Some(organization)) => (
                GateKey::Organization(base, Arc::clone(&organization)),
                Scope::Organization,
                organization,
            ),
            (Reach::Key | Reach::Project | Reach::Organization, ..) => key(),
        }
    }

    /// Every gate that could stand before an attempt.
    pub(super) fn gate_keys(&self, target: &Target, caller: Caller) -> Vec<GateKey> {
        let upstream = &*target.upstream;
        let (base, holder) = (self.base(upstream), self.holder(upstream, caller));
        let member = self.of(base, holder);
        let mut keys = Vec::with_capacity(4);
        // Another key's failure may stand under either name.
        let organizations = [member.organization, word(upstream.organization.as_ref())];
        keys.extend(
            organizations
                .into_iter()
                .flatten()
                .map(|name| GateKey::Organization(base, name)),
        );
        let projects = [member.project, word(upstream.project.as_ref())];
        keys.extend(
            projects
                .into_iter()
                .flatten()
                .map(|name| GateKey::Project(base, name)),
        );
        // The same name twice would ask its gate for two probes.
        keys.dedup();
        keys.push(GateKey::Key(base, holder));
        keys.push(GateKey::KeyAtTarget(target.id, holder));
        keys
    }
}

/// A configured organisation or project.
fn word(value: Option<&http::HeaderValue>) -> Option<Arc<str>> {
    value.and_then(|value| value.to_str().ok()).map(Arc::from)
}
