//! What the server asks for answers.

use std::future::Future;
use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::{BoxError, Router};
use futures_util::FutureExt;
use futures_util::future::Either;
use http::{Request, Response};
use hyper::body::{Body as HttpBody, Incoming};
use picloud_core::Picloud;
use tower_service::Service;

use crate::body::ResponseBody;
use crate::scripts::Handler;
use crate::{RouterConfig, api, router};

/// Answers requests, on many connections.
pub(crate) trait Answers: Clone + Send + 'static {
    type Body: HttpBody<Data: Send, Error: Into<BoxError>> + Send + 'static;

    /// The same, for one connection.
    fn of_connection(&self) -> Self;

    fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response<Self::Body>> + Send + use<Self>;
}

impl Answers for Router {
    type Body = Body;

    fn of_connection(&self) -> Self {
        self.clone()
    }

    fn answer(
        &self,
        mut request: Request<Incoming>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response<Body>> + Send + use<> {
        request.extensions_mut().insert(ConnectInfo(peer));
        Service::call(&mut self.clone(), request).map(|Ok(response)| response)
    }
}

/// All of picloud's routes.
#[derive(Debug, Clone)]
pub(crate) struct PicloudRoutes {
    scripts: Handler,
    /// Everything, for what is not of scripts.
    router: Router,
}

impl PicloudRoutes {
    pub(crate) fn new(cloud: &Picloud, config: RouterConfig) -> Self {
        PicloudRoutes {
            scripts: Handler::new(cloud, &config),
            router: router::<()>(cloud, config).with_state(()),
        }
    }
}

impl Answers for PicloudRoutes {
    type Body = ResponseBody;

    fn of_connection(&self) -> Self {
        PicloudRoutes { scripts: self.scripts.apart(), router: self.router.clone() }
    }

    fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response<ResponseBody>> + Send + use<> {
        if api::answers(request.uri().path()) {
            // Rare: not worth its room in every connection.
            let answer = Answers::answer(&self.router, request, peer);
            Either::Left(answer.map(|response| response.map(ResponseBody::from)).boxed())
        } else {
            Either::Right(self.scripts.answer(request))
        }
    }
}
