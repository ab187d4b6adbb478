//! Where a target or a key is: what fails independently of what.

use std::sync::Arc;

use crate::config::Upstream;

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) upstream: Arc<str>,
    /// Host, and port where it is this machine: what fails independently of others.
    pub(super) host: Arc<str>,
    /// On this machine or in its own network: says nothing about the way out.
    pub(super) local: bool,
}

// === impl Place ===

impl Place {
    /// Of an upstream.
    pub(super) fn of(upstream: &Upstream) -> Self {
        let url = &upstream.base_url;
        let host = url.host().unwrap_or_default();
        let bare = host.trim_matches(['[', ']']);
        let local = match bare.parse::<std::net::IpAddr>() {
            Ok(std::net::IpAddr::V4(ip)) => {
                ip.is_loopback() || ip.is_private() || ip.is_link_local()
            }
            Ok(std::net::IpAddr::V6(ip)) => ip.is_loopback() || ip.is_unique_local(),
            // A name without a dot is one of this machine's own network (a container's, a service's).
            Err(_) => {
                !bare.contains('.') || bare.ends_with(".local") || bare.ends_with(".internal")
            }
        };
        let host = match (local, url.authority()) {
            // Ports of one machine are different programs; of a provider, they are one.
            (true, Some(authority)) => authority.as_str(),
            _ => host,
        };
        Self {
            upstream: Arc::clone(&upstream.name),
            host: host.into(),
            local,
        }
    }
}
