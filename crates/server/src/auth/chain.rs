//! Several authenticators, asked one after the other.

use std::pin::Pin;

use super::{Authentication, Authenticator, Login};

/// The first that knows the token decides. One that cannot decide ends the search: another may not let in whom it would not.
pub(crate) struct Chain(Vec<Box<dyn Authenticator>>);

impl Chain {
    /// All of them as one; `None` if there are none.
    pub(crate) fn of(mut all: Vec<Box<dyn Authenticator>>) -> Option<Box<dyn Authenticator>> {
        if all.len() > 1 { Some(Box::new(Self(all))) } else { all.pop() }
    }
}

impl Authenticator for Chain {
    fn authenticate(&self, login: Login) -> Pin<Box<dyn Future<Output = Authentication> + Send + '_>> {
        Box::pin(async move {
            for authenticator in &self.0 {
                if let Some(session) = authenticator.authenticate(login.clone()).await? {
                    return Ok(Some(session));
                }
            }
            Ok(None)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Session;

    fn knows(token: &'static str, user: &'static str) -> Box<dyn Authenticator> {
        Box::new(move |login: Login| async move { Ok((login.token == token).then(|| Session::new(user))) })
    }

    #[tokio::test]
    async fn the_first_that_knows_the_token_decides() {
        assert!(Chain::of(Vec::new()).is_none());
        let broken: Box<dyn Authenticator> =
            Box::new(|_: Login| async { Authentication::Err("broken".into()) });
        let chain = Chain::of(vec![knows("a", "first"), knows("a", "second"), knows("b", "third"), broken]);
        let chain = chain.unwrap();
        let ask = async |token: &str| chain.authenticate(Login::new(token, [127, 0, 0, 1])).await;
        assert_eq!(ask("a").await.unwrap().unwrap().user_id, "first");
        assert_eq!(ask("b").await.unwrap().unwrap().user_id, "third");
        assert_eq!(ask("c").await.unwrap_err().to_string(), "broken");
    }
}
