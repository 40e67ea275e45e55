//! Arrow Flight SQL, on the port of the HTTP API: for ADBC, the Flight SQL JDBC driver, and whatever reads Arrow.
//!
//! ```text
//! POST /arrow.flight.protocol.FlightService/{Handshake, GetFlightInfo, DoGet, DoPut, ...}     gRPC over HTTP/2
//!
//! service      the methods of Flight, and the commands of Flight SQL in them
//! statement    a text: its parameters, its columns, its runs       parameters   values as literals
//! handles      tickets and prepared statements
//! rows         batches from a query to a stream                    put          batches from a client
//! catalog      what exists, and what the server can do             status       errors
//! ```
//!
//! Each method is a route of its own, so that rights, limits and metrics are those of every route. The user, the login and TLS
//! are HTTP's; a refusal in front of the service is turned into a gRPC status (`status::refusals`).

mod caller;
mod catalog;
pub(super) mod handles;
mod parameters;
mod put;
mod rows;
mod service;
mod statement;
pub(super) mod status;

use super::limits::FLIGHT_MESSAGE_BYTES_MAX;
use super::routes::{Needs, Routes};
use super::{App, REQUEST, on_thread};
use crate::engine::access::Role;
use crate::engine::result::entity::Entity;
use crate::engine::result::rows::OutputColumn;
use crate::engine::session::Session;
use crate::engine::{Answer, Engine};
use crate::error::{Error, Result};
use crate::parse::statement::{Parsed, Statement};
use crate::threads;
use crate::types::{Column, SqlType};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::flight_service_server::FlightServiceServer;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use futures::stream::BoxStream;
use service::FlightSql;
use std::collections::HashMap;
use std::sync::Arc;
use tonic::Status;
use tower_service::Service;

/// What a method that streams returns.
type Messages<T> = BoxStream<'static, Result<T, Status>>;

/// The column of a push query that says what happened to a row, for clients that ask for it.
const OP: &str = "tidegate_op";

/// Requests whose body is a stream of the client.
pub(super) const STREAMING: [&str; 3] = [
    "/arrow.flight.protocol.FlightService/Handshake",
    "/arrow.flight.protocol.FlightService/DoPut",
    "/arrow.flight.protocol.FlightService/DoExchange",
];

/// A route for each method. What a command requires beyond reading is decided where it is carried out.
pub(super) fn routes() -> Routes<Arc<App>> {
    let reader = Needs::Role(Role::Reader);
    Routes::new()
        .post("/arrow.flight.protocol.FlightService/Handshake", reader, call)
        .post("/arrow.flight.protocol.FlightService/ListFlights", reader, call)
        .post("/arrow.flight.protocol.FlightService/GetFlightInfo", reader, call)
        .post("/arrow.flight.protocol.FlightService/PollFlightInfo", reader, call)
        .post("/arrow.flight.protocol.FlightService/GetSchema", reader, call)
        .post("/arrow.flight.protocol.FlightService/DoGet", reader, call)
        .post("/arrow.flight.protocol.FlightService/DoPut", reader, call)
        .post("/arrow.flight.protocol.FlightService/DoExchange", reader, call)
        .post("/arrow.flight.protocol.FlightService/DoAction", reader, call)
        .post("/arrow.flight.protocol.FlightService/ListActions", reader, call)
}

async fn call(State(app): State<Arc<App>>, request: Request) -> Response {
    let service = FlightServiceServer::new(FlightSql::new(app));
    let mut service = service.max_decoding_message_size(FLIGHT_MESSAGE_BYTES_MAX);
    match service.call(request).await {
        Ok(response) => response.map(Body::new),
        Err(never) => match never {},
    }
}

/// Runs what may wait on a thread where it may wait.
async fn on_engine<T: Send + 'static>(work: impl FnOnce() -> Result<T, Status> + Send + 'static) -> Result<T, Status> {
    let running = on_thread(move || threads::guard(REQUEST, "", work)).map_err(|busy| status::of(&busy, None))?;
    match running.await {
        Ok(Ok(done)) => done,
        Ok(Err(panic)) => Err(status::of(&panic, None)),
        Err(_) => Err(status::of(&Error::bug("the request's task ended early"), None)),
    }
}

/// The columns of a query that is not run.
fn planned(engine: &Engine, query: Parsed, session: &mut Session) -> Result<Vec<OutputColumn>> {
    let at = query.span.start;
    let statement = Statement::Explain(Box::new(query.statement));
    let parsed = Parsed { statement, text: String::new(), span: Default::default(), begin: (1, 1) };
    match engine.execute(&parsed, session).map_err(|error| error.shifted(at))? {
        Answer::Entity(Entity::Explanation(explanation)) => {
            let column = |column: &Column| OutputColumn { name: column.name.clone(), ty: column.ty.clone() };
            Ok(explanation.schema.columns().map(column).collect())
        }
        _ => Err(Error::bug("a query cannot be described")),
    }
}

/// The schema of a result; `with_op` puts a column in front that says whether a row was put or deleted.
fn schema(columns: &[OutputColumn], with_op: bool) -> SchemaRef {
    let op = Field::new(OP, DataType::Utf8, false)
        .with_metadata(HashMap::from([("tidegate:op".to_owned(), "true".to_owned())]));
    let fields = columns.iter().map(|column| field(&column.name, &column.ty));
    Arc::new(Schema::new(with_op.then_some(op).into_iter().chain(fields).collect::<Vec<_>>()))
}

/// A column with what Flight SQL's clients look for beside its type.
fn field(name: &str, ty: &SqlType) -> Field {
    let mut metadata = HashMap::from([("ARROW:FLIGHT:SQL:TYPE_NAME".to_owned(), ty.to_string())]);
    if let SqlType::Decimal(precision, scale) = ty {
        metadata.insert("ARROW:FLIGHT:SQL:PRECISION".to_owned(), precision.to_string());
        metadata.insert("ARROW:FLIGHT:SQL:SCALE".to_owned(), scale.to_string());
    }
    Field::new(name, ty.arrow(), true).with_metadata(metadata)
}
