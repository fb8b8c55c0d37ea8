//! The requests of a command, for which a person waits: each within a deadline, and lists to their
//! last page.

use std::fmt::Debug;
use std::time::Duration;

use kube::api::ListParams;
use kube::{Api, Error};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

/// No request may take longer.
pub const DEADLINE: Duration = Duration::from_secs(30);
/// So many objects are asked for at once.
const PAGE: u32 = 500;

/// Makes a request, within a deadline.
///
/// # Errors
/// As the request; [`Error::Service`] when it is not answered in time.
pub async fn within<T>(request: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match timeout(DEADLINE, request).await {
        Ok(result) => result,
        Err(elapsed) => Err(Error::Service(elapsed.into())),
    }
}

/// Lists everything, page by page.
///
/// # Errors
/// As [`within`], of the first page that does not come.
pub async fn list<K>(api: &Api<K>, params: ListParams) -> Result<Vec<K>, Error>
where
    K: Clone + DeserializeOwned + Debug,
{
    let mut params = params.limit(PAGE);
    let mut found = Vec::new();
    loop {
        let page = within(api.list(&params)).await?;
        found.extend(page.items);
        params.continue_token = page.metadata.continue_.filter(|it| !it.is_empty());
        if params.continue_token.is_none() {
            return Ok(found);
        }
    }
}
