//! The questions about money: the billed call, free balances, and what an admin key may see.

use std::time::SystemTime;

use http::{HeaderMap, HeaderName, Method, Uri, uri::PathAndQuery};

use super::{
    Check, Finding, Severity,
    admin::{self, SpendLimit},
    ask::{below, put},
    balance, call,
    examine::Exam,
    kinds::{Use, kind_of},
    probe::{Answer, Ask},
    spend::Plan,
    vendor::{ANTHROPIC, OPENAI},
};

const CHAT: &str = "/chat/completions";

// === impl Exam ===

impl Exam<'_> {
    pub(super) async fn money(&mut self, listed: Option<&[String]>, free: &Answer) {
        if self.options.spend && self.refused {
            let note = Finding::note(
                Check::Spend,
                "spend-not-made",
                "No billed call was made, since the free one was refused.",
            );
            self.find([note]);
        } else if self.options.spend {
            self.spend(listed).await;
        } else if free.status.is_success() {
            self.limits(&free.headers, false);
        }
        self.balances().await;
        self.admin().await;
    }

    /// One smallest billed call.
    async fn spend(&mut self, listed: Option<&[String]>) {
        let Some(plan) = Plan::choose(
            self.options.model.as_deref(),
            &self.routed,
            listed,
            self.vendor,
        ) else {
            let finding = Finding::warning(
                Check::Spend,
                "spend-no-model",
                "No model is known to make a billed call with.",
            )
            .todo("Name a chat model with --model.");
            return self.find([finding]);
        };
        let mut ask = self.ask(Method::POST, CHAT, &self.configured());
        ask.body = plan.body();
        let asked = format!("One billed call to {}", plan.model);
        let answer = match self.prober.ask(&ask).await.outcome {
            Ok(answer) => answer,
            Err(trouble) => {
                let host = self.upstream.base_url.host().unwrap_or_default();
                let mut finding = call::unreachable(&trouble, host, &self.upstream.provider, false);
                finding.check = Check::Spend;
                return self.find([finding]);
            }
        };
        let verdict = call::verdict(&self.upstream.provider, &answer, "/v1/chat/completions");
        let finding = match verdict {
            None if answer.status.is_success() => Finding::ok(
                Check::Spend,
                "spend",
                format!("{asked} works ({}): there is credit.", plan.price()),
            ),
            None => Finding::warning(
                Check::Spend,
                "spend-strange",
                format!(
                    "{asked}: {} is no answer of the API.",
                    answer.status.as_u16()
                ),
            ),
            Some(verdict) => call::refused(Check::Spend, &asked, &answer, &verdict),
        };
        let judged = finding.severity == Severity::Ok
            || answer.status == http::StatusCode::TOO_MANY_REQUESTS;
        self.find([finding]);
        if judged {
            self.limits(&answer.headers, true);
        }
    }

    /// Free balances of vendors that show them to ordinary keys.
    async fn balances(&mut self) {
        for question in balance::questions(self.vendor) {
            let mut ask = self.ask(Method::GET, question.path(), &self.configured());
            if question.is_at_root() {
                ask.uri = at_root(&self.upstream.base_url, question.path());
            }
            let Ok(answer) = self.prober.ask(&ask).await.outcome else {
                continue;
            };
            let verdict = call::verdict(&self.upstream.provider, &answer, question.path());
            match verdict {
                None => self.find(question.read(&answer.body)),
                Some(verdict) if question.is_decisive() => {
                    let asked = format!("GET {}", question.path());
                    let finding = call::refused(Check::Balance, &asked, &answer, &verdict);
                    self.find([finding]);
                }
                Some(_) => {}
            }
        }
    }

    // === the admin key ===

    /// The configured one; else the environment's, but only to the vendor's own host.
    fn admin_key(&self) -> Option<(String, String)> {
        if let Some(key) = &self.upstream.admin_key {
            let origin = self
                .loaded
                .effective
                .origin_of(usize::from(self.upstream.id.0), "admin_key");
            return Some((
                key.expose().to_owned(),
                origin.unwrap_or("the configuration").to_owned(),
            ));
        }
        let name = match self.vendor? {
            OPENAI => "OPENAI_ADMIN_KEY",
            ANTHROPIC => "ANTHROPIC_ADMIN_KEY",
            _ => return None,
        };
        let key = self.env.var(name)?.trim();
        (!key.is_empty() && self.upstream.provider.is_at_home())
            .then(|| (key.to_owned(), format!("${name}")))
    }

    async fn admin(&mut self) {
        let Some((key, origin)) = self.admin_key() else {
            return;
        };
        let vendor = self.vendor;
        if let Some(kind) =
            kind_of(&key).filter(|kind| kind.good_for != Use::Admin || Some(kind.vendor) != vendor)
        {
            let finding = Finding::error(Check::Admin, "admin-key-is-none", format!("The admin key (from {origin}) is no admin key of this vendor but a {} {}; it is not sent.", kind.vendor.0, kind.name))
                .todo("Make an admin key in the organization's settings, or leave it out.");
            return self.find([finding]);
        }
        match vendor {
            Some(OPENAI) => self.openai(&key).await,
            Some(ANTHROPIC) => self.anthropic(&key).await,
            _ => {
                let finding = Finding::note(
                    Check::Admin,
                    "admin-key-unused",
                    "An admin key is configured, and this provider has nothing to ask with it.",
                );
                self.find([finding]);
            }
        }
    }

    fn admin_ask(&self, key: &str, path: &str) -> Ask {
        let mut headers = HeaderMap::new();
        if self.vendor == Some(ANTHROPIC) {
            put(&mut headers, HeaderName::from_static("x-api-key"), key);
            put(
                &mut headers,
                HeaderName::from_static("anthropic-version"),
                "2023-06-01",
            );
        } else {
            put(
                &mut headers,
                http::header::AUTHORIZATION,
                &format!("Bearer {key}"),
            );
        }
        Ask {
            method: Method::GET,
            uri: below(&self.upstream.base_url, path),
            headers,
            body: bytes::Bytes::new(),
        }
    }

    /// The body of a good answer. A refusal is a finding, unless it says that there is nothing.
    async fn admin_body(&mut self, key: &str, path: &str) -> Option<bytes::Bytes> {
        let ask = self.admin_ask(key, path);
        let plain = path.split('?').next().unwrap_or(path);
        let finding = match self.prober.ask(&ask).await.outcome {
            Ok(answer) => match call::verdict(&self.upstream.provider, &answer, path) {
                None if answer.status.is_success() => return Some(answer.body),
                _ if answer.status == http::StatusCode::NOT_FOUND => return None,
                None => return None,
                Some(verdict) => {
                    let mut finding = call::refused(
                        Check::Admin,
                        &format!("GET {plain} with the admin key"),
                        &answer,
                        &verdict,
                    );
                    // Calls do not need it.
                    finding.severity = finding.severity.min(Severity::Warning);
                    finding
                }
            },
            Err(_) => Finding::warning(
                Check::Admin,
                "admin-no-answer",
                format!("No answer to GET {plain}."),
            ),
        };
        self.find([finding]);
        None
    }

    async fn openai(&mut self, key: &str) {
        let now = SystemTime::now();
        let start = admin::month_start(now)
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |t| t.as_secs());
        let costs = format!("/organization/costs?start_time={start}&bucket_width=1d&limit=31");
        let Some(body) = self.admin_body(key, &costs).await else {
            // Without costs the key is no good; the other questions would only say so again.
            return;
        };
        let cost = admin::costs(&body, 1.0);
        let limit = self.limit_at(key, "/organization/spend_limit").await;
        self.find(admin::spending("The organization", limit, cost));
        let project = self
            .report
            .project
            .clone()
            .or_else(|| self.configured().project);
        let Some(id) = project.filter(|id| {
            id.starts_with("proj_")
                && id
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        }) else {
            return;
        };
        if let Some(body) = self
            .admin_body(key, &format!("/organization/projects/{id}"))
            .await
        {
            self.find(admin::project(&body, &id));
        }
        let limit = self
            .limit_at(key, &format!("/organization/projects/{id}/spend_limit"))
            .await;
        let cost = match self
            .admin_body(key, &format!("{costs}&project_ids={id}"))
            .await
        {
            Some(body) => admin::costs(&body, 1.0),
            None => None,
        };
        self.find(admin::spending(&format!("Project {id}"), limit, cost));
        if let Some(body) = self
            .admin_body(
                key,
                &format!("/organization/projects/{id}/rate_limits?limit=100"),
            )
            .await
        {
            self.find(admin::rate_limits(&body, &self.routed));
        }
    }

    async fn limit_at(&mut self, key: &str, path: &str) -> Option<SpendLimit> {
        admin::spend_limit(&self.admin_body(key, path).await?)
    }

    async fn anthropic(&mut self, key: &str) {
        let start = humantime::format_rfc3339_seconds(admin::month_start(SystemTime::now()));
        let path = format!("/organizations/cost_report?starting_at={start}&limit=31");
        if let Some(body) = self.admin_body(key, &path).await {
            // Amounts are in cents there.
            self.find(admin::spending(
                "The organization",
                None,
                admin::costs(&body, 0.01),
            ));
        }
    }
}

/// `path` on the host of `base`.
fn at_root(base: &Uri, path: &str) -> Uri {
    let mut parts = base.clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(path).ok();
    Uri::from_parts(parts).unwrap_or_default()
}
