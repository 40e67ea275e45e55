//! The methods of Arrow Flight, and the commands of Flight SQL that they carry.
//!
//! ```text
//! Handshake       basic -> a session's token, which lasts as the console's cookie does
//! GetFlightInfo   command -> schema and ticket; a statement without rows is carried out
//! DoGet           ticket -> batches
//! DoPut           values, updates, ingest -> number of rows
//! DoAction        CreatePreparedStatement, ClosePreparedStatement, CancelFlightInfo, CancelQuery
//! ```

use super::caller::{Caller, failed};
use super::handles::Purpose;
use super::put::{self, Batches};
use super::statement::{Prepared, Returns};
use super::{Messages, catalog, on_engine, rows, status};
use crate::config::property_of;
use crate::engine::access::Principal;
use crate::engine::session::Session;
use crate::error::Error;
use crate::serve::App;
use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::{
    ActionCancelQueryRequest, ActionCancelQueryResult, ActionClosePreparedStatementRequest,
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any, Command,
    CommandPreparedStatementQuery, DoPutPreparedStatementResult, DoPutUpdateResult, ProstMessageExt,
    TicketStatementQuery,
};
use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, Criteria, Empty, FlightData,
    FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse, IpcMessage, PollInfo, PutResult,
    SchemaAsIpc, SchemaResult, Ticket,
};
use bytes::Bytes;
use futures::{StreamExt, stream};
use prost::Message;
use std::pin::Pin;
use std::sync::Arc;
use tokio::time::Instant;
use tonic::metadata::{KeyAndValueRef, MetadataValue};
use tonic::{Request, Response, Status, Streaming};

/// The actions, and what they do.
const ACTIONS: [(&str, &str); 4] = [
    ("CreatePreparedStatement", "prepares a statement: ActionCreatePreparedStatementRequest -> its handle and schemas"),
    ("ClosePreparedStatement", "forgets a prepared statement: ActionClosePreparedStatementRequest"),
    ("CancelFlightInfo", "ends the results of a FlightInfo: CancelFlightInfoRequest -> CancelFlightInfoResult"),
    ("CancelQuery", "the same: ActionCancelQueryRequest -> ActionCancelQueryResult"),
];

/// The service.
pub(super) struct FlightSql {
    app: Arc<App>,
}

impl Caller {
    /// The schema and the ticket of a statement. One that returns no rows is carried out here.
    async fn info(&self, prepared: Arc<Prepared>, descriptor: FlightDescriptor) -> Result<FlightInfo, Status> {
        let (schema, ticket) = match &prepared.returns {
            Returns::Rows(schema) => {
                let run = prepared.only_run().map_err(failed)?;
                let handle = self.app.flight.ticket(run, self.user()).map_err(failed)?;
                (schema.clone(), TicketStatementQuery { statement_handle: handle })
            }
            Returns::Count => {
                let (app, prepared) = (self.app.clone(), prepared.clone());
                on_engine(move || put::run_all(&app, &prepared)).await?;
                (Arc::new(Schema::empty()), TicketStatementQuery { statement_handle: Bytes::new() })
            }
        };
        info(&schema, ticket.as_any().encode_to_vec(), descriptor)
    }

    /// Ends the results of a FlightInfo; returns whether there was anything to end.
    fn cancel(&self, info: &FlightInfo) -> Result<bool, Status> {
        let mut any = false;
        for ticket in info.endpoint.iter().filter_map(|endpoint| endpoint.ticket.as_ref()) {
            if let Command::TicketStatementQuery(ticket) = command(&ticket.ticket)? {
                let id = self.app.flight.id(Purpose::Ticket, &ticket.statement_handle, self.user()).map_err(failed)?;
                any |= self.app.flight.cancel(id);
            }
        }
        Ok(any)
    }
}

impl FlightSql {
    pub(super) fn new(app: Arc<App>) -> FlightSql {
        FlightSql { app }
    }

    /// The user whom the guard has let in, and the settings among the headers.
    fn caller<T>(&self, request: &Request<T>) -> Result<Caller, Status> {
        let principal = request.extensions().get::<Principal>().cloned();
        let principal = principal.ok_or_else(|| failed(Error::bug("a request without a user")))?;
        let (mut session, mut with_op) = (Session::of(principal), false);
        for header in request.metadata().iter() {
            let KeyAndValueRef::Ascii(name, value) = header else { continue };
            let Ok(value) = value.to_str() else { continue };
            match name.as_str() {
                "tidegate-op" => with_op = value == "true",
                name if property_of(name).is_some() => session.set(name, value).map_err(failed)?,
                _ => {}
            }
        }
        Ok(Caller { app: self.app.clone(), session, with_op })
    }

    /// The statement of a command that has one.
    async fn statement(&self, caller: &Caller, command: &Command) -> Result<Option<Arc<Prepared>>, Status> {
        Ok(match command {
            Command::CommandStatementQuery(query) => {
                refuse_transaction(query.transaction_id.as_ref())?;
                Some(Arc::new(caller.read(query.query.clone()).await?))
            }
            Command::CommandPreparedStatementQuery(query) => Some(caller.prepared(&query.prepared_statement_handle)?),
            _ => None,
        })
    }

    async fn put(&self, caller: &Caller, command: Command, messages: Messages<FlightData>) -> Result<Vec<u8>, Status> {
        let mut batches = Batches::new(messages, &self.app);
        let record_count = match command {
            Command::CommandStatementUpdate(update) => {
                refuse_transaction(update.transaction_id.as_ref())?;
                let prepared = Arc::new(caller.read(update.query).await?);
                put::update(caller, updates(prepared)?, &mut batches).await?
            }
            Command::CommandPreparedStatementUpdate(update) => {
                let prepared = caller.prepared(&update.prepared_statement_handle)?;
                put::update(caller, updates(prepared)?, &mut batches).await?
            }
            Command::CommandStatementIngest(ingest) => put::ingest(caller, ingest, &mut batches).await?,
            Command::CommandPreparedStatementQuery(CommandPreparedStatementQuery {
                prepared_statement_handle: handle,
            }) => {
                let bound = put::bind(&*caller.prepared(&handle)?, &mut batches).await?;
                caller.app.flight.rebind(&handle, bound, caller.user()).map_err(failed)?;
                let result = DoPutPreparedStatementResult { prepared_statement_handle: Some(handle) };
                return Ok(result.encode_to_vec());
            }
            other => return Err(unknown(&other)),
        };
        Ok(DoPutUpdateResult { record_count }.encode_to_vec())
    }

    async fn create_prepared(&self, caller: &Caller, body: &[u8]) -> Result<Vec<u8>, Status> {
        let request: ActionCreatePreparedStatementRequest = unpacked(body)?;
        refuse_transaction(request.transaction_id.as_ref())?;
        let prepared = caller.read(request.query).await?;
        let dataset_schema = match &prepared.returns {
            Returns::Rows(schema) => encoded(schema)?,
            Returns::Count => Bytes::new(),
        };
        let parameter_schema = match prepared.types.as_slice() {
            [] => Bytes::new(),
            types => {
                let fields = types.iter().enumerate().map(|(at, ty)| super::field(&format!("${}", at + 1), ty));
                encoded(&Schema::new(fields.collect::<Vec<_>>()))?
            }
        };
        let prepared_statement_handle = self.app.flight.prepare(prepared, caller.user()).map_err(failed)?;
        let result =
            ActionCreatePreparedStatementResult { prepared_statement_handle, dataset_schema, parameter_schema };
        Ok(result.as_any().encode_to_vec())
    }
}

#[tonic::async_trait]
impl FlightService for FlightSql {
    type HandshakeStream = Messages<HandshakeResponse>;
    type ListFlightsStream = Messages<FlightInfo>;
    type DoGetStream = Messages<FlightData>;
    type DoPutStream = Messages<PutResult>;
    type DoExchangeStream = Messages<FlightData>;
    type DoActionStream = Messages<arrow_flight::Result>;
    type ListActionsStream = Messages<ActionType>;

    /// The guard has checked the credentials. A token is returned as it came; a password yields a new token, which lasts as
    /// a browser's session does, so that the password need not be sent again.
    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        let caller = self.caller(&request)?;
        let sent = request.metadata().get("authorization").and_then(|sent| sent.to_str().ok()).unwrap_or_default();
        let (scheme, credentials) = sent.split_once(' ').unwrap_or_default();
        let token = match (&self.app.logins, scheme.eq_ignore_ascii_case("bearer")) {
            (_, true) => credentials.trim().to_owned(),
            (Some(logins), false) => logins.handshakes.open(caller.user().clone(), Instant::now()).map_err(failed)?,
            // Without users nothing is checked, but clients want a token.
            (None, false) => "local".to_owned(),
        };
        let reply = HandshakeResponse { protocol_version: 0, payload: Bytes::from(token.clone()) };
        let mut response = Response::new(stream::iter([Ok(reply)]).boxed());
        let header = MetadataValue::try_from(format!("Bearer {token}"));
        let header = header.map_err(|_| Status::invalid_argument("the token is no header"))?;
        response.metadata_mut().insert("authorization", header);
        Ok(response)
    }

    async fn list_flights(&self, _: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        Err(status::unsupported("ListFlights", "ask for the tables: CommandGetTables"))
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        let caller = self.caller(&request)?;
        let descriptor = request.into_inner();
        let command = command(&descriptor.cmd)?;
        if let Some(prepared) = self.statement(&caller, &command).await? {
            return caller.info(prepared, descriptor).await.map(Response::new);
        }
        match catalog::table(&caller, &command).await? {
            // Their ticket is the command: what they return is small, and made when it is asked for.
            Some(batch) => {
                let ticket = descriptor.cmd.to_vec();
                info(&batch.schema(), ticket, descriptor).map(Response::new)
            }
            None => Err(unknown(&command)),
        }
    }

    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        Err(status::unsupported("PollFlightInfo", "call GetFlightInfo, which does not wait for rows"))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        let caller = self.caller(&request)?;
        let command = command(&request.into_inner().cmd)?;
        let schema: SchemaRef = match self.statement(&caller, &command).await? {
            Some(prepared) => match &prepared.returns {
                Returns::Rows(schema) => schema.clone(),
                Returns::Count => Arc::new(Schema::empty()),
            },
            None => catalog::table(&caller, &command).await?.ok_or_else(|| unknown(&command))?.schema(),
        };
        Ok(Response::new(SchemaResult { schema: encoded(&schema)? }))
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let caller = self.caller(&request)?;
        let command = command(&request.into_inner().ticket)?;
        let Command::TicketStatementQuery(ticket) = &command else {
            let batch = catalog::table(&caller, &command).await?.ok_or_else(|| unknown(&command))?;
            return Ok(Response::new(rows::of_batch(batch)));
        };
        if ticket.statement_handle.is_empty() {
            return Ok(Response::new(rows::of_batch(RecordBatch::new_empty(Arc::new(Schema::empty())))));
        }
        let (id, run) = self.app.flight.redeem(&ticket.statement_handle, caller.user()).map_err(failed)?;
        let running = self.app.flight.running(id);
        let app = self.app.clone();
        let started = on_engine(move || run.start(&app.engine)).await?;
        Ok(Response::new(rows::of_started(&self.app, started, running)?))
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        let caller = self.caller(&request)?;
        let mut messages = request.into_inner().peekable();
        let descriptor = match Pin::new(&mut messages).peek().await {
            Some(Ok(first)) => first.flight_descriptor.clone(),
            Some(Err(status)) => return Err(status.clone()),
            None => None,
        };
        let descriptor = descriptor.ok_or_else(|| Status::invalid_argument("the first message has no descriptor"))?;
        let command = command(&descriptor.cmd)?;
        let app_metadata = self.put(&caller, command, messages.boxed()).await?;
        Ok(Response::new(stream::iter([Ok(PutResult { app_metadata: app_metadata.into() })]).boxed()))
    }

    async fn do_exchange(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoExchangeStream>, Status> {
        Err(status::unsupported("DoExchange", "use DoGet and DoPut"))
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        let caller = self.caller(&request)?;
        let action = request.into_inner();
        let body = match action.r#type.as_str() {
            "CreatePreparedStatement" => Some(self.create_prepared(&caller, &action.body).await?),
            "ClosePreparedStatement" => {
                let close: ActionClosePreparedStatementRequest = unpacked(&action.body)?;
                self.app.flight.close(&close.prepared_statement_handle, caller.user()).map_err(failed)?;
                None
            }
            "CancelFlightInfo" => {
                let cancel = CancelFlightInfoRequest::decode(&*action.body);
                let cancel = cancel.map_err(|cause| status::malformed("the action", cause))?;
                let ended = caller.cancel(&cancel.info.unwrap_or_default())?;
                let status = if ended { CancelStatus::Cancelled } else { CancelStatus::NotCancellable };
                Some(CancelFlightInfoResult { status: status as i32 }.encode_to_vec())
            }
            "CancelQuery" => {
                let cancel: ActionCancelQueryRequest = unpacked(&action.body)?;
                let info = FlightInfo::decode(&*cancel.info);
                let ended = caller.cancel(&info.map_err(|cause| status::malformed("the action", cause))?)?;
                // CancelResult: 1 = cancelled, 3 = not cancellable.
                let result = ActionCancelQueryResult { result: if ended { 1 } else { 3 } };
                Some(result.as_any().encode_to_vec())
            }
            other => {
                let names: Vec<_> = ACTIONS.iter().map(|(name, _)| *name).collect();
                return Err(status::unsupported(
                    &format!("the action {other}"),
                    &format!("actions are {}", names.join(", ")),
                ));
            }
        };
        let results = body.map(|body| Ok(arrow_flight::Result { body: body.into() }));
        Ok(Response::new(stream::iter(results).boxed()))
    }

    async fn list_actions(&self, _: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        let actions = ACTIONS
            .map(|(name, description)| Ok(ActionType { r#type: name.to_owned(), description: description.to_owned() }));
        Ok(Response::new(stream::iter(actions).boxed()))
    }
}

/// The command in a descriptor or a ticket.
fn command(bytes: &[u8]) -> Result<Command, Status> {
    let any = Any::decode(bytes).map_err(|cause| status::malformed("the command", cause))?;
    Command::try_from(any).map_err(|cause| status::malformed("the command", cause))
}

/// The message in the body of an action.
fn unpacked<T: ProstMessageExt>(bytes: &[u8]) -> Result<T, Status> {
    let any = Any::decode(bytes).map_err(|cause| status::malformed("the action", cause))?;
    let unpacked = any.unpack().map_err(|cause| status::malformed("the action", cause))?;
    unpacked.ok_or_else(|| Status::invalid_argument("the body of the action is another message"))
}

fn unknown(command: &Command) -> Status {
    status::unsupported(
        command.type_url().rsplit('.').next().unwrap_or_default(),
        "docs/flight-sql.md lists the commands",
    )
}

fn refuse_transaction(transaction: Option<&Bytes>) -> Result<(), Status> {
    match transaction {
        Some(_) => {
            Err(status::unsupported("a transaction", "turn autocommit on: each statement takes effect on its own"))
        }
        None => Ok(()),
    }
}

/// A statement that is sent as an update.
fn updates(prepared: Arc<Prepared>) -> Result<Arc<Prepared>, Status> {
    match prepared.returns {
        Returns::Count => Ok(prepared),
        Returns::Rows(_) => {
            let error = Error::statement("the statement returns rows, so that it is no update");
            Err(failed(error.with_hint("execute it as a query")))
        }
    }
}

fn encoded(schema: &Schema) -> Result<Bytes, Status> {
    let message = IpcMessage::try_from(SchemaAsIpc::new(schema, &IpcWriteOptions::default()));
    message.map(|IpcMessage(bytes)| bytes).map_err(|error| failed(Error::from(error)))
}

/// One endpoint, at the server itself. How many rows there will be is not known.
fn info(schema: &Schema, ticket: Vec<u8>, descriptor: FlightDescriptor) -> Result<FlightInfo, Status> {
    let endpoint = FlightEndpoint::new().with_ticket(Ticket::new(ticket));
    let info = FlightInfo::new().try_with_schema(schema).map_err(|error| failed(Error::from(error)))?;
    Ok(info.with_endpoint(endpoint).with_descriptor(descriptor).with_ordered(true))
}
