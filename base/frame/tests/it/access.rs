//! Tokens and scopes.

use crate::node::{OPERATOR, start};
use sha2::{Digest, Sha256};

fn tokens() -> String {
    let hash: String =
        Sha256::digest(b"a-token-kept-as-its-hash").iter().map(|byte| format!("{byte:02X}")).collect();
    format!(
        "[{{name = \"shop\", secret = \"a-token-of-the-shop\", scopes = [\"produce\"]}}, \
         {{name = \"wall\", sha256 = \"{hash}\", scopes = [\"read\"]}}]"
    )
}

#[tokio::test]
async fn without_tokens_anyone_may_produce_and_read_but_not_operate() {
    let node = start(&[]).await;
    assert_eq!(node.get("/api/demo/things").await.status, 200);
    let refused = node.send("PUT", "/api/demo/switch", &[], "").await;
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, "Bearer realm=\"artel\""));
    assert!(refused.problem().contains("the operator token that artel run prints"));
    let bearer = format!("bearer {OPERATOR}");
    assert_eq!(node.send("PUT", "/api/demo/switch", &[("authorization", &bearer)], "").await.status, 204);
    for wrong in ["Bearer nonsense", "Basic dTpw", "x", &format!("Bearer {OPERATOR}x")] {
        let answer = node.send("GET", "/api/demo/things", &[("authorization", wrong)], "").await;
        assert_eq!(answer.status, 401, "a wrong token is refused, also where none is needed: {wrong}");
        assert!(!answer.text().contains("nonsense"));
    }
}

#[tokio::test]
async fn with_tokens_every_route_needs_one_with_its_scope() {
    let node = start(&[("auth.tokens", &tokens())]).await;
    for path in ["/api/demo/things", "/api/openapi.json", "/api/none", "/api/demo/wait"] {
        let answer = node.get(path).await;
        assert_eq!(answer.status, 401, "{path}");
        assert_eq!(answer.problem(), "a token is needed; send the header authorization: Bearer TOKEN");
    }
    for path in ["/livez", "/readyz", "/metrics", "/api/docs"] {
        assert_eq!(node.get(path).await.status, 200, "{path}");
    }
    assert_eq!(node.get_as("a-token-kept-as-its-hash", "/api/demo/things").await.status, 200);
    let document = node.get_as(OPERATOR, "/api/openapi.json").await.json();
    let security = &document["paths"]["/api/demo/things"]["get"]["security"];
    assert_eq!(
        *security,
        serde_json::json!([{ "token": [] }]),
        "the document says that nobody comes in without one"
    );
    let shop = node.get_as("a-token-of-the-shop", "/api/demo/things").await;
    assert_eq!(
        (shop.status, &*shop.problem()),
        (403, "the token 'shop' may not read; use one with the scope read")
    );
    assert_eq!(node.get_as(OPERATOR, "/api/demo/things").await.status, 200);
    let headers = [("authorization", "Bearer a-token-of-the-shop"), ("content-type", "application/json")];
    let made = node.send("POST", "/api/demo/things", &headers, "{\"name\": \"a\"}").await;
    assert_eq!((made.status, &made.json()["caller"]), (201, &"shop".into()));
    let switch = node.send("PUT", "/api/demo/switch", &headers, "").await;
    assert_eq!(switch.status, 403);
}

#[tokio::test]
async fn an_open_route_needs_no_token_and_looks_itself_who_calls() {
    let node = start(&[("auth.tokens", &tokens())]).await;
    for (path, status) in
        [("/api/demo/calls/friend", 204), ("/api/demo/calls/enemy", 403), ("/api/demo/calls", 401)]
    {
        assert_eq!(node.send("POST", path, &[], "").await.status, status, "{path}");
    }
    // Whoever may look may ask whether it is there.
    for method in ["GET", "HEAD"] {
        assert_eq!(node.send(method, "/api/demo/visits/friend", &[], "").await.status, 204, "{method}");
    }
    assert_eq!(node.send("HEAD", "/api/demo/things", &[], "").await.status, 401);
    // Another method of the same path, and a token that is not its business.
    assert_eq!(node.get("/api/demo/calls/friend").await.status, 401);
    let headers = [("authorization", "Basic dTpw")];
    assert_eq!(node.send("POST", "/api/demo/calls/friend", &headers, "").await.status, 204);
}

#[tokio::test]
async fn another_address_than_loopback_is_closed() {
    let node = start(&[("http.listen", "0.0.0.0:1"), ("auth.operator_token", OPERATOR)]).await;
    assert_eq!(node.get("/api/demo/things").await.status, 401);
    assert_eq!(node.get_as(OPERATOR, "/api/demo/things").await.status, 200);
    let headers = [("host", "any.example"), ("authorization", &*format!("Bearer {OPERATOR}"))];
    assert_eq!(node.send("GET", "/api/demo/things", &headers, "").await.status, 200);
}
