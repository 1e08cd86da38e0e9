//! A tower layer: a service whose calls go through a breaker.

use super::call::Judged;
use super::registry::{Guard, Handle};
use crate::permit::Rejected;
use pin_project_lite::pin_project;
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tower_layer::Layer;
use tower_service::Service;

/// Puts a breaker before a service. `judge` says what each result proves; put a timeout layer inside.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use quorate_breaker::{BreakerLayer, Breakers, judge_by_result};
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
///
/// let breakers = Breakers::builder().build(&prometheus::Registry::new())?;
/// let web = breakers.handle("web", "10.0.0.7:8000");
/// let mut service = ServiceBuilder::new()
///     .layer(BreakerLayer::new(web, judge_by_result))
///     .service(service_fn(|name: &'static str| async move { Ok::<_, std::io::Error>(format!("hello {name}")) }));
///
/// assert_eq!(service.ready().await?.call("you").await?, "hello you");
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct BreakerLayer<J> {
    handle: Handle,
    judge: J,
}

impl<J> BreakerLayer<J> {
    /// A layer with the breaker of `handle`.
    pub fn new(handle: Handle, judge: J) -> Self {
        Self { handle, judge }
    }
}

impl<S, J: Clone> Layer<S> for BreakerLayer<J> {
    type Service = BreakerService<S, J>;

    fn layer(&self, inner: S) -> Self::Service {
        BreakerService { inner, handle: self.handle.clone(), judge: self.judge.clone() }
    }
}

/// A service behind a breaker. Its error is boxed: a [`Rejection`], or the inner service's.
#[derive(Debug, Clone)]
pub struct BreakerService<S, J> {
    inner: S,
    handle: Handle,
    judge: J,
}

/// The breaker rejected the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejection(pub Rejected);

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not called: {}", self.0)
    }
}

impl Error for Rejection {}

type BoxError = Box<dyn Error + Send + Sync>;

impl<S, J, Request> Service<Request> for BreakerService<S, J>
where
    S: Service<Request>,
    S::Error: Into<BoxError>,
    J: Fn(&Result<S::Response, S::Error>) -> Judged + Clone,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Guarded<S::Future, J>;

    /// Ready when the inner service is: a breaker answers at once and makes nobody wait.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let entered = self.handle.enter();
        // A rejected request never reaches the inner service.
        let future = entered.is_ok().then(|| self.inner.call(request));
        Guarded { future, entered: entered.map(Some), judge: self.judge.clone() }
    }
}

pin_project! {
    /// A guarded call. Dropped before its end, it counts as cancelled.
    #[derive(Debug)]
    pub struct Guarded<F, J> {
        #[pin]
        future: Option<F>,
        // The guard is taken when the call ends.
        entered: Result<Option<Guard>, Rejected>,
        judge: J,
    }
}

impl<F, J, T, E> Future for Guarded<F, J>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
    J: Fn(&Result<T, E>) -> Judged,
{
    type Output = Result<T, BoxError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match (this.entered, this.future.as_pin_mut()) {
            (Ok(guard), Some(future)) => {
                let result = ready!(future.poll(context));
                if let Some(guard) = guard.take() {
                    guard.finish((this.judge)(&result).outcome);
                }
                Poll::Ready(result.map_err(Into::into))
            }
            (Err(rejected), _) => Poll::Ready(Err(Box::new(Rejection(*rejected)))),
            // A call that was admitted has a future.
            (Ok(_), None) => Poll::Pending,
        }
    }
}

#[cfg(test)]
#[path = "layer_tests.rs"]
mod tests;
