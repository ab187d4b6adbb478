//! The free call: is the key taken, whom does it belong to, which models does it see.

use http::{HeaderMap, HeaderName, Method};

use super::{
    Check, Finding, call,
    examine::Exam,
    models,
    organization::{self, FromEnvironment, Outcome, Owner},
    probe::Answer,
    vendor::{AZURE, OPENROUTER},
};
use crate::{
    config::UpstreamKey,
    triage::{Class, Verdict},
};

const ORGANIZATION: [&str; 2] = ["OPENAI_ORG_ID", "OPENAI_ORGANIZATION"];
const PROJECT: [&str; 2] = ["OPENAI_PROJECT_ID", "OPENAI_PROJECT"];

// === impl Exam ===

impl Exam<'_> {
    /// Judges the answer; gives the models that are on the list.
    pub(super) async fn free_call(&mut self, answer: &Answer) -> Option<Vec<String>> {
        let skew = call::skew(answer);
        self.report.facts.clock_skew_seconds = skew;
        self.find(skew.map(call::clock));
        if call::text(&answer.headers, "x-weir-request-id").is_some() {
            let note = Finding::note(
                Check::Call,
                "another-weir",
                "Another weir answers there: its retries come on top of this one's.",
            );
            self.find([note.todo("Fine when it is meant; else write the provider's own address.")]);
        }
        let provider = &self.upstream.provider;
        self.report.facts.request_id = provider
            .request_id_headers
            .iter()
            .find_map(|name| Some(call::text(&answer.headers, name.as_str())?.to_owned()));
        if let Some(finding) = call::redirect(answer) {
            self.find([finding]);
            return None;
        }
        let verdict = call::verdict(provider, answer, "/v1/models");
        self.organization(answer, verdict.as_ref()).await;
        let Some(verdict) = verdict else {
            return self.list(answer);
        };
        // A list that is not there says nothing of the key.
        self.refused = verdict.class != Class::NotFound;
        let finding = self.refusal(answer, &verdict).await;
        self.find(finding);
        None
    }

    fn list(&mut self, answer: &Answer) -> Option<Vec<String>> {
        let listed = models::models(&answer.body);
        let count = listed.as_ref().map(Vec::len);
        self.report.facts.models = count;
        let many = count.map_or_else(String::new, |count| format!(", {count} models"));
        let with = match (&self.key, self.vendor) {
            // Anybody gets that list; the key is asked about with its balance.
            (_, Some(OPENROUTER)) => "The API answers",
            (Some(_), Some(_)) => "The key is good",
            // Servers in the house may not look at it.
            (Some(_), None) => "The key is taken",
            (None, _) => "An answer came without a key",
        };
        let mut found = vec![Finding::ok(
            Check::Call,
            "call",
            format!("{with}: GET /models answers 200{many}."),
        )];
        if let Some(listed) = &listed {
            found.extend(models::missing(
                &self.routed,
                listed,
                self.vendor == Some(AZURE),
            ));
        }
        self.find(found);
        listed
    }

    /// A refusal of the free call, after looking whether it is the address that is wrong.
    async fn refusal(&self, answer: &Answer, verdict: &Verdict) -> Option<Finding> {
        let lost = matches!(
            verdict.class,
            Class::NotFound | Class::EdgeHtmlError | Class::Unknown | Class::InvalidRequest
        );
        if lost && !self.upstream.base_url.path().contains("/v1") {
            let ask = self.ask(Method::GET, "/v1/models", &self.configured());
            if let Ok(second) = self.prober.ask(&ask).await.outcome
                && second.status.is_success()
                && models::models(&second.body).is_some()
            {
                let base = self.upstream.base_url.to_string();
                return Some(
                    Finding::error(
                        Check::BaseUrl,
                        "base-url-no-version",
                        "The API is not here, but under /v1.",
                    )
                    .todo(format!(
                        "Write base_url = \"{}/v1\".",
                        base.trim_end_matches('/')
                    )),
                );
            }
        }
        // Said already, with the true owner beside it.
        if verdict.class == Class::AuthWrongOrg {
            return None;
        }
        let mut finding = call::refused(Check::Call, "GET /models", answer, verdict);
        if self.key.is_none()
            && matches!(
                verdict.class,
                Class::AuthMissing | Class::AuthInvalid | Class::Permission
            )
        {
            finding = Finding::ok(
                Check::Call,
                "call-without-key",
                format!(
                    "The API answers, and asks for a key ({}).",
                    answer.status.as_u16()
                ),
            );
        }
        if verdict.class == Class::NotFound {
            finding = finding.todo("Some servers have no list of models. If calls fail too, check the path of base_url.");
        }
        Some(finding)
    }

    // === whom it belongs to ===

    async fn organization(&mut self, answer: &Answer, verdict: Option<&Verdict>) {
        let configured = self.configured();
        let outcome = outcome(verdict);
        let mut seen = self.seen(&answer.headers);
        if outcome == Outcome::Refused && !configured.is_empty() {
            let bare = self.ask(Method::GET, &self.free_path(), &Owner::default());
            let second = self.prober.ask(&bare).await.outcome.ok();
            seen = second
                .filter(|second| second.status.is_success())
                .map_or_else(Owner::default, |second| self.seen(&second.headers));
        }
        let environment = self.environment_names(outcome).await;
        let seen = Some(seen).filter(|seen| !seen.is_empty());
        let found = organization::examine(&organization::Facts {
            configured: &configured,
            outcome,
            seen: seen.as_ref(),
            environment: environment.as_ref(),
        });
        self.find(found);
        if let Some(seen) = seen {
            self.report.organization = seen.organization;
            self.report.project = seen.project;
        }
    }

    fn seen(&self, headers: &HeaderMap) -> Owner {
        let provider = &self.upstream.provider;
        let text = |name: &Option<HeaderName>| {
            Some(call::text(headers, name.as_ref()?.as_str())?.to_owned())
        };
        Owner {
            organization: text(&provider.organization_seen_header),
            project: text(&provider.project_seen_header),
        }
    }

    /// What the environment names, tried where callers' headers pass through.
    async fn environment_names(&self, outcome: Outcome) -> Option<FromEnvironment> {
        self.upstream.provider.organization_header.as_ref()?;
        let set = |names: [&'static str; 2]| {
            names.into_iter().find_map(|name| {
                let value = self
                    .env
                    .var(name)
                    .map(str::trim)
                    .filter(|value| !value.is_empty())?;
                Some((name, value.chars().take(100).collect::<String>()))
            })
        };
        let mut found = FromEnvironment {
            organization: set(ORGANIZATION),
            project: set(PROJECT),
            outcome: None,
        };
        let passes = self.upstream.key == UpstreamKey::Passthrough && self.key.is_some();
        let named = Owner {
            organization: self
                .configured()
                .organization
                .or_else(|| Some(found.organization.as_ref()?.1.clone())),
            project: self
                .configured()
                .project
                .or_else(|| Some(found.project.as_ref()?.1.clone())),
        };
        if found.organization.is_none() && found.project.is_none() {
            return None;
        }
        if passes && named != self.configured() {
            found.outcome = Some(Outcome::Unknown);
            if outcome == Outcome::Accepted {
                let ask = self.ask(Method::GET, &self.free_path(), &named);
                if let Ok(answer) = self.prober.ask(&ask).await.outcome {
                    let verdict = call::verdict(&self.upstream.provider, &answer, "/v1/models");
                    found.outcome = Some(self::outcome(verdict.as_ref()));
                }
            }
        }
        Some(found)
    }
}

fn outcome(verdict: Option<&Verdict>) -> Outcome {
    match verdict.map(|verdict| verdict.class) {
        None => Outcome::Accepted,
        Some(Class::AuthWrongOrg) => Outcome::Refused,
        Some(_) => Outcome::Unknown,
    }
}
