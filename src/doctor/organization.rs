//! Whom the key belongs to, against whom it was meant to belong to.
//!
//! The provider's word decides: an answer names the organisation and project that it bills, and a refusal for the wrong
//! one is followed by a second free call that names none, which shows the true one. Names are compared only when both
//! are ids: the header may hold an organisation's name where the configuration has its id.

use super::{Check, Finding};

/// Organisation and project, as far as something names them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) organization: Option<String>,
    pub(super) project: Option<String>,
}

/// What became of a call that named somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Accepted,
    /// Organisation or project do not fit the key.
    Refused,
    /// It failed for another reason.
    Unknown,
}

/// Names out of the environment, and what the provider says to them.
#[derive(Clone, Debug)]
pub(super) struct FromEnvironment {
    pub(super) organization: Option<(&'static str, String)>,
    pub(super) project: Option<(&'static str, String)>,
    /// `None`: it was not tried, since no caller's headers pass here.
    pub(super) outcome: Option<Outcome>,
}

/// Everything that is known.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) configured: &'a Owner,
    /// Of the call with what is configured.
    pub(super) outcome: Outcome,
    /// As the provider names them, on the call that named nobody if the other was refused.
    pub(super) seen: Option<&'a Owner>,
    pub(super) environment: Option<&'a FromEnvironment>,
}

// === impl Owner ===

impl Owner {
    pub(super) fn is_empty(&self) -> bool {
        self.organization.is_none() && self.project.is_none()
    }

    fn told(&self) -> String {
        match (&self.organization, &self.project) {
            (Some(organization), Some(project)) => {
                format!("organization {organization}, project {project}")
            }
            (Some(organization), None) => format!("organization {organization}"),
            (None, Some(project)) => format!("project {project}"),
            (None, None) => "nobody named".to_owned(),
        }
    }
}

pub(super) fn examine(facts: &Facts<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    match facts.outcome {
        Outcome::Refused => found.push(refused(facts)),
        Outcome::Accepted => found.extend(accepted(facts)),
        Outcome::Unknown => {}
    }
    found.extend(
        facts
            .environment
            .and_then(|environment| surroundings(environment, facts.seen)),
    );
    found
}

/// The configured names do not fit the key.
fn refused(facts: &Facts<'_>) -> Finding {
    let meant = facts.configured.told();
    match facts.seen {
        Some(seen) if !facts.configured.is_empty() => {
            let keys = match (&facts.configured.organization, &facts.configured.project) {
                (Some(_), Some(_)) => "`organization` and `project`",
                (Some(_), None) => "`organization`",
                _ => "`project`",
            };
            Finding::error(
                Check::Organization,
                "wrong-organization",
                format!(
                    "The key belongs to {}, but the configuration says {meant}.",
                    seen.told()
                ),
            )
            .todo(format!(
                "Remove {keys} from the upstream, or correct them, or use a key of {meant}."
            ))
        }
        _ => Finding::error(
            Check::Organization,
            "wrong-organization",
            format!("The provider says that the key does not fit {meant}."),
        )
        .todo("Correct `organization` and `project`, or leave them out; the key names its own."),
    }
}

fn accepted(facts: &Facts<'_>) -> Vec<Finding> {
    let Some(seen) = facts.seen.filter(|seen| !seen.is_empty()) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let differs = differs(&facts.configured.organization, &seen.organization, "org-")
        || differs(&facts.configured.project, &seen.project, "proj_");
    if differs {
        found.push(
            Finding::error(
                Check::Organization,
                "other-organization",
                format!(
                    "Calls are billed to {}, but the configuration says {}.",
                    seen.told(),
                    facts.configured.told()
                ),
            )
            .todo("Use a key of the organization and project that you mean."),
        );
    } else {
        let mut what = format!("Calls are billed to {}", seen.told());
        if !facts.configured.is_empty() {
            what.push_str(", as configured");
        }
        found.push(Finding::ok(Check::Organization, "organization", what + "."));
    }
    if seen
        .organization
        .as_deref()
        .is_some_and(|name| name.starts_with("user-"))
    {
        found.push(
            Finding::note(
                Check::Organization,
                "personal-organization",
                "That is somebody's personal organization, with its own credit and limits.",
            )
            .todo("If a company's was meant, make a key in the company's organization."),
        );
    }
    found
}

/// Both are ids, and not the same.
fn differs(meant: &Option<String>, seen: &Option<String>, prefix: &str) -> bool {
    match (meant, seen) {
        (Some(meant), Some(seen)) => {
            meant.starts_with(prefix) && seen.starts_with(prefix) && meant != seen
        }
        _ => false,
    }
}

/// What programs that were started in this environment name.
fn surroundings(environment: &FromEnvironment, seen: Option<&Owner>) -> Option<Finding> {
    let names: Vec<_> = [&environment.organization, &environment.project]
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    if names.is_empty() {
        return None;
    }
    let (names, variables) = (names.join(" and "), variables(environment));
    let belongs = seen.map_or_else(|| "another".to_owned(), Owner::told);
    let same = seen.is_some_and(|seen| {
        let is = |named: &Option<(&str, String)>, seen: &Option<String>| {
            named
                .as_ref()
                .is_none_or(|(_, value)| Some(value) == seen.as_ref())
        };
        is(&environment.organization, &seen.organization) && is(&environment.project, &seen.project)
    });
    Some(match environment.outcome {
        Some(Outcome::Refused) => Finding::error(
            Check::Organization,
            "wrong-organization-in-environment",
            format!("The environment says {names}, but the key belongs to {belongs}: SDKs started here send it and get 401."),
        )
        .todo(format!("Unset {variables}, or use a key that belongs there.")),
        Some(Outcome::Accepted) if same => return None,
        Some(Outcome::Accepted) => Finding::note(
            Check::Organization,
            "organization-in-environment",
            format!("The environment says {names}; the provider accepts it with this key."),
        ),
        Some(Outcome::Unknown) => return None,
        None if same => return None,
        None => Finding::note(
            Check::Organization,
            "organization-in-environment",
            format!("The environment says {names}. weir drops it, since it uses its own key; programs that bypass weir send it."),
        )
        .todo(format!("Unset {variables} if it is left over from another account.")),
    })
}

fn variables(environment: &FromEnvironment) -> String {
    let names: Vec<_> = [&environment.organization, &environment.project]
        .into_iter()
        .flatten()
        .map(|(name, _)| *name)
        .collect();
    names.join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(organization: &str, project: &str) -> Owner {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Owner {
            organization: some(organization),
            project: some(project),
        }
    }

    fn ids(facts: &Facts<'_>) -> Vec<&'static str> {
        examine(facts).iter().map(|finding| finding.id).collect()
    }

    #[test]
    fn the_true_owner_is_named_beside_the_wrong_one() {
        let (configured, seen) = (owner("org-mine", ""), owner("org-theirs", "proj_x"));
        let facts = Facts {
            configured: &configured,
            outcome: Outcome::Refused,
            seen: Some(&seen),
            environment: None,
        };
        let found = examine(&facts);
        assert_eq!(found[0].id, "wrong-organization");
        assert!(
            found[0].what.contains("org-theirs") && found[0].what.contains("org-mine"),
            "{}",
            found[0].what
        );
    }

    #[test]
    fn a_name_is_not_compared_with_an_id() {
        let configured = owner("org-123", "");
        for (seen, id) in [
            (owner("acme-inc", ""), "organization"),
            (owner("org-456", ""), "other-organization"),
        ] {
            let facts = Facts {
                configured: &configured,
                outcome: Outcome::Accepted,
                seen: Some(&seen),
                environment: None,
            };
            assert_eq!(ids(&facts), [id]);
        }
    }

    #[test]
    fn a_personal_organization_is_noted() {
        let (configured, seen) = (Owner::default(), owner("user-abc", ""));
        let facts = Facts {
            configured: &configured,
            outcome: Outcome::Accepted,
            seen: Some(&seen),
            environment: None,
        };
        assert_eq!(ids(&facts), ["organization", "personal-organization"]);
    }

    #[test]
    fn the_environments_organization_is_an_error_only_where_it_is_refused() {
        let (configured, seen) = (Owner::default(), owner("org-b", ""));
        for (outcome, id) in [
            (
                Some(Outcome::Refused),
                Some("wrong-organization-in-environment"),
            ),
            (Some(Outcome::Accepted), Some("organization-in-environment")),
            (Some(Outcome::Unknown), None),
            (None, Some("organization-in-environment")),
        ] {
            let environment = FromEnvironment {
                organization: Some(("OPENAI_ORG_ID", "org-a".to_owned())),
                project: None,
                outcome,
            };
            let facts = Facts {
                configured: &configured,
                outcome: Outcome::Accepted,
                seen: Some(&seen),
                environment: Some(&environment),
            };
            assert_eq!(ids(&facts).get(1).copied(), id, "{outcome:?}");
        }
    }
}
