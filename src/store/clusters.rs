//! The tables of clusters and nodes.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::time::{millis, moment};
use super::{Store, StoreError};
use crate::types::event::NodeStatus;
use crate::types::fleet::{Cluster, ClusterStatus, Node, NodeFacts, NodeRole};

/// Everything the two tables hold.
#[derive(Debug, Default)]
pub struct Saved {
    pub clusters: Vec<Cluster>,
    pub nodes: Vec<Node>,
    /// The highest numbers ever given; none is used twice.
    pub last_cluster: u32,
    pub last_node: u32,
}

/// What is to be written, all or nothing. `None` removes the row.
#[derive(Debug, Default)]
pub struct Rows {
    pub clusters: Vec<(u32, Option<Cluster>)>,
    pub nodes: Vec<(u32, Option<Node>)>,
}

impl Store {
    /// # Errors
    /// See [`StoreError`].
    pub fn clusters_and_nodes(&self) -> Result<Saved, StoreError> {
        self.read(load)
    }

    /// # Errors
    /// See [`StoreError`]; nothing was changed then.
    pub fn keep_clusters_and_nodes(&self, rows: Rows) -> Result<(), StoreError> {
        self.write(move |sql| save(sql, &rows))
    }
}

fn load(sql: &Connection) -> rusqlite::Result<Saved> {
    let mut clusters = sql.prepare("SELECT * FROM clusters ORDER BY id")?;
    let mut nodes = sql.prepare("SELECT * FROM nodes ORDER BY id")?;
    let last = |table: &str| {
        let seq = sql.query_row("SELECT seq FROM sqlite_sequence WHERE name = ?1", [table], |row| row.get(0));
        Ok::<u32, rusqlite::Error>(seq.optional()?.unwrap_or(0))
    };
    Ok(Saved {
        clusters: clusters.query_map([], cluster)?.collect::<Result<_, _>>()?,
        nodes: nodes.query_map([], node)?.collect::<Result<_, _>>()?,
        last_cluster: last("clusters")?,
        last_node: last("nodes")?,
    })
}

fn save(sql: &Connection, rows: &Rows) -> rusqlite::Result<()> {
    // A node's cluster is there before the node, and goes after it.
    for cluster in rows.clusters.iter().filter_map(|(_, cluster)| cluster.as_ref()) {
        let values = params![
            cluster.id,
            cluster.name,
            cluster.description,
            cluster.status.as_str(),
            millis(cluster.created_at),
            millis(cluster.updated_at)
        ];
        sql.prepare(
            "INSERT INTO clusters (id, name, description, status, created, updated) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (id) DO UPDATE SET name = excluded.name, description = excluded.description,
                 status = excluded.status, updated = excluded.updated",
        )?
        .execute(values)?;
    }
    for (id, node) in &rows.nodes {
        if node.is_none() {
            sql.execute("DELETE FROM nodes WHERE id = ?1", [id])?;
        }
    }
    // Whoever gives up a name to an older node comes before it.
    for node in rows.nodes.iter().rev().filter_map(|(_, node)| node.as_ref()) {
        save_node(sql, node)?;
    }
    for (id, cluster) in &rows.clusters {
        if cluster.is_none() {
            sql.execute("DELETE FROM clusters WHERE id = ?1", [id])?;
        }
    }
    Ok(())
}

fn save_node(sql: &Connection, node: &Node) -> rusqlite::Result<()> {
    let facts = &node.facts;
    let values = params![
        node.id,
        node.name,
        facts.ip_address,
        facts.mac_address,
        node.status.as_str(),
        node.role.as_str(),
        facts.architecture,
        facts.model,
        facts.serial_number,
        facts.cpu_cores,
        facts.memory.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
        node.cluster_id,
        facts.os_version,
        facts.kernel_version,
        node.server_id,
        node.last_seen.map(millis),
        millis(node.created_at),
        millis(node.updated_at)
    ];
    sql.prepare(
        "INSERT INTO nodes (id, name, ip_address, mac_address, status, role, architecture, model, serial_number,
             cpu_cores, memory, cluster_id, os_version, kernel_version, server_id, last_seen, created, updated)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, ip_address = excluded.ip_address,
             mac_address = excluded.mac_address, status = excluded.status, role = excluded.role,
             architecture = excluded.architecture, model = excluded.model, serial_number = excluded.serial_number,
             cpu_cores = excluded.cpu_cores, memory = excluded.memory, cluster_id = excluded.cluster_id,
             os_version = excluded.os_version, kernel_version = excluded.kernel_version,
             server_id = excluded.server_id, last_seen = excluded.last_seen, updated = excluded.updated",
    )?
    .execute(values)
    .map(drop)
}

fn cluster(row: &Row<'_>) -> rusqlite::Result<Cluster> {
    let status: String = row.get("status")?;
    Ok(Cluster {
        id: row.get("id")?,
        name: row.get("name")?,
        description: row.get("description")?,
        status: ClusterStatus::from_word(&status).unwrap_or(ClusterStatus::Active),
        created_at: moment(row.get("created")?),
        updated_at: moment(row.get("updated")?),
    })
}

fn node(row: &Row<'_>) -> rusqlite::Result<Node> {
    let (status, role): (String, String) = (row.get("status")?, row.get("role")?);
    let memory: Option<i64> = row.get("memory")?;
    let last_seen: Option<i64> = row.get("last_seen")?;
    Ok(Node {
        id: row.get("id")?,
        name: row.get("name")?,
        status: NodeStatus::from_word(&status).unwrap_or(NodeStatus::Unknown),
        role: NodeRole::from_word(&role).unwrap_or(NodeRole::Worker),
        facts: NodeFacts {
            ip_address: row.get("ip_address")?,
            mac_address: row.get("mac_address")?,
            architecture: row.get("architecture")?,
            model: row.get("model")?,
            serial_number: row.get("serial_number")?,
            cpu_cores: row.get("cpu_cores")?,
            memory: memory.and_then(|bytes| u64::try_from(bytes).ok()),
            os_version: row.get("os_version")?,
            kernel_version: row.get("kernel_version")?,
        },
        cluster_id: row.get("cluster_id")?,
        server_id: row.get("server_id")?,
        last_seen: last_seen.map(moment),
        created_at: moment(row.get("created")?),
        updated_at: moment(row.get("updated")?),
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn clusters_and_nodes_come_back_as_they_were_and_their_numbers_are_not_used_twice() {
        let store = Store::start(None).expect("a store in memory");
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        let lab = Cluster {
            id: 1,
            name: "lab".into(),
            description: String::new(),
            status: ClusterStatus::Active,
            created_at: at,
            updated_at: at,
        };
        let pi = Node {
            id: 4,
            name: "pi".into(),
            status: NodeStatus::Ready,
            role: NodeRole::Worker,
            facts: NodeFacts { memory: Some(1 << 33), ip_address: Some("10.0.0.1".into()), ..NodeFacts::default() },
            cluster_id: Some(1),
            server_id: Some("s".into()),
            last_seen: Some(at),
            created_at: at,
            updated_at: at,
        };
        let keep = |clusters, nodes| store.keep_clusters_and_nodes(Rows { clusters, nodes });
        keep(vec![(1, Some(lab.clone()))], vec![(4, Some(pi.clone()))]).expect("written");
        let saved = store.clusters_and_nodes().expect("read");
        assert_eq!((saved.clusters, saved.nodes), (vec![lab], vec![pi.clone()]));
        let twin = Node { id: 5, ..pi };
        assert!(matches!(keep(vec![], vec![(5, Some(twin))]), Err(StoreError::Conflict(_))));
        keep(vec![(1, None)], vec![(4, None)]).expect("written");
        let saved = store.clusters_and_nodes().expect("read");
        assert_eq!((saved.clusters.len(), saved.nodes.len()), (0, 0));
        assert_eq!((saved.last_cluster, saved.last_node), (1, 4));
        store.stop(Duration::from_secs(5));
    }
}
