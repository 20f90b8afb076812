//! The call context: who calls, for which app, until when, caused by what.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::authz::{Capability, Principal, PrincipalKind};
use crate::log::LogBuffer;
use crate::outbox::Fanout;
use crate::{AppId, Clock, Error, ErrorKind, ExecutionId, RequestId, Result, ScriptId, SystemClock, TraceId};

/// The first argument of every service call.
///
/// It is the only source of the app id: no argument a script can see names another app. Cloning is cheap.
#[derive(Clone)]
pub struct CallCx {
    inner: Arc<CxInner>,
    fanout: Option<Arc<Fanout>>,
}

/// The parts of a [`CallCx`], for whoever starts a chain of calls.
#[derive(Clone)]
#[non_exhaustive]
pub struct CxInner {
    /// The app that everything in this call belongs to.
    pub app: AppId,
    /// Who is behind the call; `None` for anonymous public traffic.
    pub principal: Option<Arc<Principal>>,
    /// The script that is running, with its name; `None` for calls by the host.
    pub script: Option<(ScriptId, Arc<str>)>,
    /// The execution that is running; `None` for calls by the host.
    pub execution: Option<ExecutionId>,
    /// The request that started it all.
    pub request: RequestId,
    /// Everything that one request or event caused carries the same trace id.
    pub trace: TraceId,
    /// How many events lie between the first cause and this call.
    pub trigger_depth: u32,
    /// When the call must be over, on the monotonic clock; `None` for no limit.
    pub deadline: Option<Instant>,
    /// The clock that services follow.
    pub clock: Arc<dyn Clock>,
    /// Where script log lines go; `None` outside an execution.
    pub log: Option<Arc<LogBuffer>>,
}

impl CxInner {
    /// A call for `app` by nobody, without a deadline, on the system clock.
    pub fn new(app: AppId) -> Self {
        CxInner {
            app,
            principal: None,
            script: None,
            execution: None,
            request: RequestId::new(),
            trace: TraceId::new(),
            trigger_depth: 0,
            deadline: None,
            clock: Arc::new(SystemClock),
            log: None,
        }
    }
}

impl From<CxInner> for CallCx {
    fn from(inner: CxInner) -> Self {
        CallCx { inner: Arc::new(inner), fanout: None }
    }
}

impl CallCx {
    /// A call by the host itself, for `app`: no principal, no deadline, system clock.
    pub fn new(app: AppId) -> Self {
        CxInner::new(app).into()
    }

    /// The parts, to start another chain of calls that differs in some.
    pub fn to_inner(&self) -> CxInner {
        (*self.inner).clone()
    }

    /// The app that everything in this call belongs to.
    pub fn app(&self) -> AppId {
        self.inner.app
    }

    /// Who is behind the call; `None` for anonymous public traffic.
    pub fn principal(&self) -> Option<&Arc<Principal>> {
        self.inner.principal.as_ref()
    }

    /// The script that is running, with its name.
    pub fn script(&self) -> Option<(ScriptId, &str)> {
        self.inner.script.as_ref().map(|(id, name)| (*id, &**name))
    }

    /// The execution that is running.
    pub fn execution(&self) -> Option<ExecutionId> {
        self.inner.execution
    }

    /// The request that started it all.
    pub fn request(&self) -> RequestId {
        self.inner.request
    }

    /// The trace that this call is part of.
    pub fn trace(&self) -> TraceId {
        self.inner.trace
    }

    /// How many events lie between the first cause and this call.
    pub fn trigger_depth(&self) -> u32 {
        self.inner.trigger_depth
    }

    /// When the call must be over.
    pub fn deadline(&self) -> Option<Instant> {
        self.inner.deadline
    }

    /// Time left until the deadline; `None` for no deadline, zero when it has passed.
    pub fn remaining(&self) -> Option<Duration> {
        self.inner.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// The clock that services follow.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    /// Where script log lines go; `None` outside an execution.
    pub fn log(&self) -> Option<&Arc<LogBuffer>> {
        self.inner.log.as_ref()
    }

    /// The outbox rows that a write must commit together with itself. Filled in by the guard; a backend reads
    /// it, nobody else needs it.
    pub fn fanout(&self) -> Option<&Arc<Fanout>> {
        self.fanout.as_ref()
    }

    /// The same call with these outbox rows to commit.
    #[must_use]
    pub fn with_fanout(&self, fanout: Arc<Fanout>) -> Self {
        CallCx { inner: self.inner.clone(), fanout: Some(fanout) }
    }

    /// Script as gate: with a principal the capability is required, anonymous traffic (and end users whom the
    /// host vouches for) passes, since there the script itself decides.
    ///
    /// # Errors
    /// `"forbidden"`, naming the capability, when there is a principal and it lacks it.
    pub fn require(&self, capability: Capability) -> Result<()> {
        match self.principal() {
            Some(principal)
                if principal.kind != PrincipalKind::Caller
                    && !principal.allows(capability, Some(self.app())) =>
            {
                Err(Error::new(
                    ErrorKind::Forbidden,
                    "forbidden",
                    format!("{capability:?} is needed for this call"),
                )
                .with("principal", &principal.name))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for CallCx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallCx")
            .field("app", &self.inner.app)
            .field("script", &self.inner.script)
            .field("execution", &self.inner.execution)
            .field("request", &self.inner.request)
            .field("trigger_depth", &self.inner.trigger_depth)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for CxInner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CxInner")
            .field("app", &self.app)
            .field("script", &self.script)
            .finish_non_exhaustive()
    }
}
