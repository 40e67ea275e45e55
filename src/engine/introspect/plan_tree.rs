//! The plan of a query as a graph: what EXPLAIN draws, for programs.
//!
//! ```text
//! scan-0 -> rows -> exchange (by CAR, 4 partitions, in memory) -> aggregate (state: bounded) -> having -> sink
//! ```
//!
//! The nodes of a continuous query are the stages of its pipeline, and their ids are those of the stages in `engine::facts`: the
//! numbers of a running query belong to the nodes of its plan. A query that ends has the nodes of its bound plan. A node of a
//! statement with one SELECT names the clause that made it (`plan_place`).

use crate::engine::Engine;
use crate::engine::ddl::Change;
use crate::engine::intent::{Inquiry, Intent};
use crate::engine::query::{Read, unknown_query};
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::execute::compile;
use crate::execute::pipeline::Pipeline;
use crate::execute::stage::StageKind;
use crate::parse::text::place::Place;
use crate::plan::nodes::join::Rule;
use crate::plan::{self, Created, Facts};
use crate::types::Column;

/// What a node keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateBound {
    /// Nothing.
    None,
    /// Rows of a bounded time.
    Bounded,
    /// As much as there are keys.
    Unbounded,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanNode {
    /// Its id, stable for one query.
    pub id: String,
    /// What kind of node it is: `scan`, `aggregate`.
    pub op: String,
    /// What it does, in words.
    pub label: String,
    /// The key by which its rows are divided, if it changes or groups by one.
    pub key: Option<String>,
    /// Partitions of what it does.
    pub partitions: Option<u32>,
    /// Rows change partition here, in memory.
    pub is_hop: bool,
    /// What it keeps.
    pub state: StateBound,
    /// What to mind.
    pub warning: Option<String>,
    /// The clause that made it; `None` = it cannot be told, or the text is not what was sent (variables were put in).
    pub place: Option<Place>,
}

/// A plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanTree {
    /// Nodes in the order in which rows pass them.
    pub nodes: Vec<PlanNode>,
    /// Ids of nodes: from, to.
    pub edges: Vec<(String, String)>,
}

impl Engine {
    /// The plan of a persistent query.
    pub fn plan_of_query(&self, id: &str, session: &Session) -> Result<PlanTree> {
        let state = self.inner.state.load();
        self.check_query(session, &state.catalog, id)?;
        let unknown = || unknown_query(id, &state.catalog).with_code(40400);
        let query = state.queries.get(id).ok_or_else(unknown)?;
        match query.spec() {
            Some(spec) => {
                let text = state.texts.get(id).map(|text| text.sql.as_str()).unwrap_or_default();
                Ok(of_pipeline(&spec.pipeline).placed(text, text, 0))
            }
            None => Err(Error::statement(format!("query {id} cannot be planned by this version"))),
        }
    }

    /// The plan of a statement that reads or writes rows, without effect.
    pub fn plan_of_text(&self, text: &str, session: &Session) -> Result<PlanTree> {
        let parsed = self.parse(text, session)?;
        let [parsed] = parsed.as_slice() else {
            return Err(Error::statement(format!("expected exactly one statement, got {}", parsed.len())));
        };
        let intent = Intent::of(parsed, &self.inner.pushes);
        let planned = self.check_named(session, &intent).and_then(|()| self.planned(&intent, &parsed.text, session));
        // EXPLAIN of a query by its id shows that query's plan, whose places are in the query's own text.
        let is_of_query = matches!(intent, Intent::Inquiry(Inquiry::ExplainQuery(_)));
        let planned = planned.map(|tree| match is_of_query {
            true => tree.without_places(),
            false => tree.placed(text, &parsed.text, parsed.span.start),
        });
        planned.map_err(|e| e.told_in(&parsed.text, parsed.begin).shifted(parsed.span.start))
    }

    fn planned(&self, intent: &Intent<'_>, text: &str, session: &Session) -> Result<PlanTree> {
        let settings = self.settings(&self.properties(session))?;
        let state = self.inner.state.load();
        let catalog = &state.catalog;
        match intent {
            Intent::Inquiry(Inquiry::Explain(explained)) => self.planned(explained, text, session),
            Intent::Inquiry(Inquiry::ExplainQuery(id)) => self.plan_of_query(&id.value, session),
            Intent::Change(Change::CreateAs(create)) => {
                let id = format!("{}_{}", create.name.value, state.next);
                match plan::create_as(create, &id, catalog, &Facts::default(), &settings, text)? {
                    Created::New(plan) => {
                        self.check_plan(session, catalog, &plan)?;
                        Ok(of_pipeline(&compile::pipeline(&plan.logical)?))
                    }
                    Created::Exists(why) => Err(Error::statement(why)),
                }
            }
            Intent::Change(Change::InsertSelect(insert)) => {
                let plan = plan::insert_select(insert, &format!("INSERTQUERY_{}", state.next), catalog, &settings)?;
                self.check_plan(session, catalog, &plan)?;
                Ok(of_pipeline(&compile::pipeline(&plan.logical)?))
            }
            Intent::Read(Read::Push(select)) => {
                let plan = plan::push_query(select, catalog, &settings)?;
                self.check_sources(session, catalog, &plan.reads)?;
                Ok(of_pipeline(&compile::pipeline(&plan.logical)?))
            }
            Intent::Read(Read::Bounded(query) | Read::Analyze(query)) => {
                let plan = query.plan(catalog, &settings)?;
                self.check_sources(session, catalog, &plan.reads)?;
                Ok(of_nodes(plan::explain::nodes(&plan.logical)))
            }
            Intent::Change(_)
            | Intent::Connector(_)
            | Intent::Read(Read::Print(_) | Read::Verify(_))
            | Intent::EndPushQuery(_)
            | Intent::InsertValues(_)
            | Intent::Setting(_)
            | Intent::Inquiry(_)
            | Intent::Refused(_) => Err(Error::statement("only queries have a plan")
                .with_hint("send a SELECT, a CREATE ... AS SELECT or an INSERT INTO ... SELECT")),
        }
    }
}

/// The stages of a pipeline.
fn of_pipeline(pipeline: &Pipeline) -> PlanTree {
    let nodes = StageKind::all(pipeline).into_iter().map(|(kind, label)| node(pipeline, kind, label));
    let edges = StageKind::edges(pipeline).into_iter().map(|(from, to)| (from.id(), to.id()));
    PlanTree { nodes: nodes.collect(), edges: edges.collect() }
}

fn node(pipeline: &Pipeline, kind: StageKind, label: String) -> PlanNode {
    let id = kind.id();
    let op = id.split('-').next().unwrap_or_default().to_owned();
    let mut node = PlanNode {
        id,
        op,
        label,
        key: None,
        partitions: Some(pipeline.partitions()),
        is_hop: false,
        state: StateBound::None,
        warning: None,
        place: None,
    };
    let behind_hop = pipeline.hop.as_ref().map_or(pipeline.partitions(), |hop| hop.partitions);
    match kind {
        StageKind::Scan(nth) => node.partitions = Some(pipeline.scans[nth].source.partitions),
        StageKind::Join(nth) => {
            let join = &pipeline.joins[nth];
            node.key = Some(join.key.name.clone());
            node.partitions = Some(join.partitions);
            node.is_hop = join.sides.iter().any(|side| side.hop.is_some());
            node.state = if matches!(join.rule, Rule::Within(_)) { StateBound::Bounded } else { StateBound::Unbounded };
        }
        StageKind::Rows | StageKind::Explode => {}
        StageKind::Table => node.state = StateBound::Unbounded,
        StageKind::Exchange => {
            node.key = pipeline.hop.as_ref().map(|hop| names(&hop.key));
            (node.is_hop, node.partitions) = (true, Some(behind_hop));
        }
        StageKind::Aggregate => {
            node.partitions = Some(behind_hop);
            if let Some(spec) = &pipeline.aggregate {
                node.key = Some(names(&spec.key));
                let is_windowed = spec.window.is_some();
                node.state = if is_windowed { StateBound::Bounded } else { StateBound::Unbounded };
                // The groups of a table end when its rows are deleted.
                let grows = !is_windowed && pipeline.table.is_none();
                node.warning = grows.then(|| "keeps a row of each key for ever: no window ends it".to_owned());
            }
        }
        StageKind::Having | StageKind::Sink => node.partitions = Some(behind_hop),
    }
    node
}

fn names(columns: &[Column]) -> String {
    columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// The nodes of a bound plan: their texts, and for each the one that reads it.
fn of_nodes(nodes: Vec<(String, Option<usize>)>) -> PlanTree {
    let id = |n: usize| format!("node-{n}");
    let edges = nodes.iter().enumerate().filter_map(|(n, (_, reader))| Some((id(n), id((*reader)?)))).collect();
    let node = |(n, (text, _)): (usize, (String, Option<usize>))| PlanNode {
        id: id(n),
        op: text.split([':', '(']).next().unwrap_or_default().trim().to_lowercase(),
        label: text,
        key: None,
        partitions: None,
        is_hop: false,
        state: StateBound::None,
        warning: None,
        place: None,
    };
    PlanTree { nodes: nodes.into_iter().enumerate().map(node).collect(), edges }
}
