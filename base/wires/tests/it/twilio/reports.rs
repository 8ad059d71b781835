//! Reports: posted, signed, repeated.

use super::{Both, PATIENCE, TOKEN, both, text};
use artel_wires::simulators::{Behaviour, Judge, Receipt};
use artel_wires::twilio::Text;
use artel_wires::twilio::callback::{Form, Report, SIGNATURE};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// The path with its query, the signature and the form of what was posted.
type Posted = (String, String, Form);

/// Where reports go; the first `refused` are answered with an error.
async fn desk(refused: usize) -> (String, mpsc::Receiver<Posted>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (posted, receiver) = mpsc::channel(64);
    let count = Arc::new(AtomicUsize::new(0));
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (posted, count) = (posted.clone(), Arc::clone(&count));
        async move {
            let path = request.uri().to_string();
            let signature = request.headers()[SIGNATURE].to_str().unwrap().to_owned();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            posted.send((path, signature, Form::read(&body).unwrap())).await.unwrap();
            let mut response = Response::new(Full::<bytes::Bytes>::default());
            if count.fetch_add(1, Ordering::Relaxed) < refused {
                *response.status_mut() = hyper::StatusCode::SERVICE_UNAVAILABLE;
            }
            Ok::<_, Infallible>(response)
        }
    });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let builder = hyper::server::conn::http1::Builder::new();
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service.clone()));
        }
    });
    (url, receiver)
}

fn telling(receipts: Vec<Receipt>) -> Judge {
    let receipts: Vec<_> = receipts.into_iter().map(|receipt| (Duration::from_millis(1), receipt)).collect();
    Arc::new(move |_| Behaviour { receipts: receipts.clone(), ..Behaviour::default() })
}

async fn next(posted: &mut mpsc::Receiver<Posted>) -> Posted {
    timeout(PATIENCE, posted.recv()).await.unwrap().unwrap()
}

#[tokio::test]
async fn each_step_is_reported_in_its_order_and_signed() {
    let (desk, mut posted) = desk(0).await;
    let told = vec![Receipt::OnItsWay, Receipt::Undelivered(30_006), Receipt::Delivered, Receipt::Expired];
    let both: Both = both(telling(told), |settings| settings.callback = format!("{desk}/reports")).await;
    let reference = Some("order 7".to_owned());
    let handed = both.client.send(&Text { reference: reference.clone(), ..text("a") }).await;
    let sid = handed.reference.unwrap();
    let url = both.client.callback(reference.as_deref());
    assert_eq!(url, format!("{desk}/reports?reference=order+7"));
    for (status, error_code) in
        [("sent", None), ("undelivered", Some(30_006)), ("delivered", None), ("failed", Some(30_036))]
    {
        let (path, signature, form) = next(&mut posted).await;
        assert_eq!(path, "/reports?reference=order+7");
        assert!(form.is_signed(TOKEN, &url, &signature));
        assert!(!form.is_signed("another", &url, &signature));
        assert_eq!(form.report(), Ok(Report { sid: sid.clone(), status: status.into(), error_code }));
        assert_eq!(form.get("To"), Some("+79161234567"));
    }
    let fetched = both.client.fetch(&sid).await.message.unwrap();
    assert_eq!((fetched.status.as_str(), fetched.error_code), ("failed", Some(30_036)));
}

#[tokio::test]
async fn a_report_that_is_not_taken_comes_again() {
    let (desk, mut posted) = desk(2).await;
    let both = both(telling(vec![Receipt::Delivered]), |settings| settings.callback = desk).await;
    both.client.send(&text("a")).await;
    let first = next(&mut posted).await;
    assert_eq!((next(&mut posted).await, next(&mut posted).await), (first.clone(), first));
    assert_eq!(both.simulator.reports().0, 3);
}
