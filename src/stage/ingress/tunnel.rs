//! After 101: bytes both ways until one side ends.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::call::ReplyBody;

/// Joins both halves. `body` is the reply's: empty, but what rides in it (permits, the log line) ends
/// with the tunnel.
pub(super) async fn join(caller: OnUpgrade, provider: OnUpgrade, body: ReplyBody) {
    let (Ok(caller), Ok(provider)) = (caller.await, provider.await) else {
        return;
    };
    let (mut caller, mut provider) = (TokioIo::new(caller), TokioIo::new(provider));
    // An error here is one side's hang-up, which is how tunnels end.
    let _ = tokio::io::copy_bidirectional(&mut caller, &mut provider).await;
    drop(body);
}
