//! Clusters and nodes, in Pi-Controller's forms.

use super::route::*;
use super::schema::*;
use crate::types::fleet::{ClusterStatus, NodeRole};

const TAG: &str = "clusters";

/// Pi-Controller installs Kubernetes with these. Here there is nothing to install, and they say so.
macro_rules! refused {
    ($path:literal, $id:literal, $summary:literal, $parameter:expr) => {
        Route::post($path, $id, $summary)
            .deprecated()
            .takes(&[$parameter])
            .answers(&[BAD, UNKNOWN, LOW_ROLE, MISSING, NO_KUBERNETES])
            .tag(TAG)
    };
}

pub const ROUTES: &[Route] = &[
    Route::get("/api/v1/clusters", "clusters", "All clusters")
        .takes(&[LIMIT, OFFSET])
        .answers(&[answer(200, "One page of them", &[json(model(&CLUSTERS))]), BAD, UNKNOWN, LOW_ROLE])
        .tag(TAG),
    Route::post("/api/v1/clusters", "makeCluster", "Make a cluster")
        .takes(&[ENVELOPE])
        .body(&[json(model(&NEW_CLUSTER)).example(r#"{"name":"lab","description":"by the window"}"#)])
        .answers(&[answer(201, "Made", &[json(model(&CLUSTER))]), BAD, UNKNOWN, LOW_ROLE, CONFLICT, CROWDED, NOT_KEPT])
        .tag(TAG),
    Route::get("/api/v1/clusters/{cluster_id}", "cluster", "One cluster, with its nodes")
        .takes(&[CLUSTER_IN_PATH, ENVELOPE])
        .answers(&[answer(200, "The cluster", &[json(model(&CLUSTER))]), BAD, UNKNOWN, LOW_ROLE, MISSING])
        .tag(TAG),
    Route::put("/api/v1/clusters/{cluster_id}", "changeCluster", "Change a cluster")
        .about("What is there changes.")
        .takes(&[CLUSTER_IN_PATH, ENVELOPE])
        .body(&[json(model(&CLUSTER_CHANGE))])
        .answers(&[
            answer(200, "The cluster, changed", &[json(model(&CLUSTER))]),
            BAD,
            UNKNOWN,
            LOW_ROLE,
            MISSING,
            CONFLICT,
            CROWDED,
            NOT_KEPT,
        ])
        .tag(TAG),
    Route::delete("/api/v1/clusters/{cluster_id}", "deleteCluster", "Forget a cluster")
        .about("Its nodes stay, without a cluster.")
        .takes(&[CLUSTER_IN_PATH])
        .answers(&[answer(204, "Gone", &[]), BAD, UNKNOWN, LOW_ROLE, MISSING, CROWDED, NOT_KEPT])
        .tag(TAG),
    Route::get("/api/v1/clusters/{cluster_id}/nodes", "clusterNodes", "A cluster's nodes")
        .takes(&[CLUSTER_IN_PATH, LIMIT, OFFSET])
        .answers(&[answer(200, "One page of them", &[json(model(&MEMBERS))]), BAD, UNKNOWN, LOW_ROLE, MISSING])
        .tag(TAG),
    Route::post("/api/v1/clusters/{cluster_id}/nodes", "joinCluster", "Put a node into a cluster")
        .about("It leaves the one it was in. Both become events.")
        .takes(&[CLUSTER_IN_PATH, ENVELOPE])
        .body(&[json(open_object(&[always("node_id", either(&[COUNT, TEXT]).about("Its number or its name"))]))
            .example(r#"{"node_id":"greenhouse"}"#)])
        .answers(&[
            answer(200, "The node, now part of it", &[json(model(&NODE))]),
            BAD,
            UNKNOWN,
            LOW_ROLE,
            MISSING,
            CONFLICT,
            CROWDED,
            NOT_KEPT,
        ])
        .tag(TAG),
    Route::delete("/api/v1/clusters/{cluster_id}/nodes/{node_id}", "leaveCluster", "Take a node out of a cluster")
        .takes(&[CLUSTER_IN_PATH, NODE_IN_PATH])
        .answers(&[answer(204, "Out of it", &[]), BAD, UNKNOWN, LOW_ROLE, MISSING, CROWDED, NOT_KEPT])
        .tag(TAG),
    Route::get("/api/v1/clusters/{cluster_id}/status", "clusterStatus", "How a cluster is")
        .takes(&[CLUSTER_IN_PATH])
        .answers(&[
            answer(200, "The status alone", &[json(words(ClusterStatus::WORDS)).example(r#""active""#)]),
            BAD,
            UNKNOWN,
            LOW_ROLE,
            MISSING,
        ])
        .tag(TAG),
    Route::get("/api/v1/nodes", "nodes", "All nodes: agents' devices, and what was seen on the network")
        .takes(&[LIMIT, OFFSET])
        .answers(&[answer(200, "One page of them", &[json(model(&NODES))]), BAD, UNKNOWN, LOW_ROLE])
        .tag(TAG),
    Route::post("/api/v1/nodes", "makeNode", "Enter a node by hand")
        .takes(&[ENVELOPE])
        .body(&[json(model(&NEW_NODE)).example(
            r#"{"name":"shed","ip_address":"192.0.2.7","mac_address":"b8:27:eb:00:00:01",
"role":"worker"}"#,
        )])
        .answers(&[answer(201, "Entered", &[json(model(&NODE))]), BAD, UNKNOWN, LOW_ROLE, CONFLICT, CROWDED, NOT_KEPT])
        .tag(TAG),
    Route::get("/api/v1/nodes/{node_id}", "node", "One node")
        .takes(&[NODE_IN_PATH, ENVELOPE])
        .answers(&[answer(200, "The node", &[json(model(&NODE))]), BAD, UNKNOWN, LOW_ROLE, MISSING])
        .tag(TAG),
    Route::put("/api/v1/nodes/{node_id}", "changeNode", "Change a node")
        .about("What is there changes.")
        .takes(&[NODE_IN_PATH, ENVELOPE])
        .body(&[json(model(&NODE_CHANGE))])
        .answers(&[
            answer(200, "The node, changed", &[json(model(&NODE))]),
            BAD,
            UNKNOWN,
            LOW_ROLE,
            MISSING,
            CONFLICT,
            CROWDED,
            NOT_KEPT,
        ])
        .tag(TAG),
    Route::delete("/api/v1/nodes/{node_id}", "deleteNode", "Forget a node")
        .takes(&[NODE_IN_PATH])
        .answers(&[answer(204, "Gone", &[]), BAD, UNKNOWN, LOW_ROLE, MISSING, CONFLICT, CROWDED, NOT_KEPT])
        .tag(TAG),
    Route::get("/api/v1/nodes/{node_id}/gpio", "nodeLines", "A node's lines")
        .about("This device's own only.")
        .takes(&[NODE_IN_PATH])
        .answers(&[
            answer(200, "The lines", &[json(model(&NODE_LINES))]),
            BAD,
            UNKNOWN,
            LOW_ROLE,
            MISSING,
            answer(500, "A line could not be read", PROBLEM_BODY),
            answer(501, "It is another device: ask that one", PROBLEM_BODY),
            answer(503, "The chip is gone", PROBLEM_BODY),
        ])
        .tag(TAG),
    Route::get("/api/v1/system/info", "systemInfo", "What this machine is")
        .answers(&[answer(200, "The machine", &[json(model(&INFO))]), UNKNOWN, LOW_ROLE])
        .tag(TAG),
    Route::get("/api/v1/system/metrics", "systemMetrics", "What this process needs")
        .answers(&[answer(200, "The process", &[json(model(&PROCESS_FIGURES))]), UNKNOWN, LOW_ROLE])
        .tag(TAG),
    refused!(
        "/api/v1/clusters/{cluster_id}/provision",
        "provisionCluster",
        "Install Kubernetes: never",
        CLUSTER_IN_PATH
    ),
    refused!("/api/v1/nodes/{node_id}/provision", "provisionNode", "Install Kubernetes: never", NODE_IN_PATH),
    refused!("/api/v1/nodes/{node_id}/deprovision", "deprovisionNode", "Remove Kubernetes: never", NODE_IN_PATH),
    refused!("/api/v1/nodes/{node_id}/cluster-token", "clusterToken", "Kubernetes' token: never", NODE_IN_PATH),
    refused!("/api/v1/nodes/{node_id}/kubeconfig", "kubeconfig", "Kubernetes' configuration: never", NODE_IN_PATH),
];

const NO_KUBERNETES: Answer =
    answer(501, "There is no Kubernetes here: clusters are named groups", PROBLEM_BODY).named("NoKubernetes");

const PROBLEM: Model = Model {
    name: "Problem",
    schema: object(&[
        always("error", TEXT.about("The status in words")),
        always("message", TEXT),
        always("detail", TEXT.about("The same as `message`")),
    ]),
};

const PROBLEM_BODY: &[Content] = &[json(model(&PROBLEM))];

const BAD: Answer =
    answer(400, "A body, a query or an id that is not what is asked for", PROBLEM_BODY).named("BadClusterRequest");
const UNKNOWN: Answer =
    answer(401, "Nothing was shown, or nothing that is good", PROBLEM_BODY).named("UnknownToClusters");
const LOW_ROLE: Answer =
    answer(403, "Looking needs a viewer, changing an operator, removing an admin", PROBLEM_BODY).named("LowRole");
const MISSING: Answer = answer(404, "No such cluster or node", PROBLEM_BODY).named("NoSuchNode");
const CONFLICT: Answer =
    answer(409, "The name or the address is taken, or it is this device itself", PROBLEM_BODY).named("NodeConflict");
const CROWDED: Answer =
    answer(503, "There is too much to do right now; try again", PROBLEM_BODY).named("NodeStoreBusy");
const NOT_KEPT: Answer =
    answer(507, "The store's disk is full, or may not be written", PROBLEM_BODY).named("NodeStoreUnwritable");

const CLUSTER_IN_PATH: Parameter = in_path("cluster_id", TEXT, "Its number or its name", "1");
const NODE_IN_PATH: Parameter = in_path("node_id", TEXT, "Its number or its name", "1");
const LIMIT: Parameter = in_query("limit", COUNT.max(1000.0), "How many to give at most; 50 if left out");
const OFFSET: Parameter = in_query("offset", COUNT, "How many of the list to leave out; 0 if left out");
const ENVELOPE: Parameter = in_query("envelope", TEXT, "`data`: the object stands in a member of that name");

/// Every status a node may be given.
const NODE_STATUS: Schema = words(&[
    "discovered",
    "provisioning",
    "ready",
    "not_ready",
    "maintenance",
    "failed",
    "offline",
    "stopping",
    "unknown",
]);

const LONG: Schema = TEXT.most(4096);
const CALLED: Schema = TEXT.least(1).most(100).about("No control characters, no space at its ends");

/// The pages of a list.
macro_rules! page {
    ($name:literal, $of:expr) => {
        open_object(&[
            always($name, list($of)),
            always("data", list($of).about("The same")),
            always("count", COUNT.about("How many are here")),
            always("total", COUNT.about("How many there are")),
            always("limit", COUNT),
            always("offset", COUNT),
        ])
    };
}

const CLUSTERS: Model = Model { name: "Clusters", schema: page!("clusters", &model(&CLUSTER)) };
const NODES: Model = Model { name: "Nodes", schema: page!("nodes", &model(&NODE)) };
const MEMBERS: Model = Model { name: "ClusterNodes", schema: page!("nodes", &model(&NODE)) };

const CLUSTER: Model = Model {
    name: "Cluster",
    schema: open_object(&[
        maybe("id", COUNT),
        maybe("name", TEXT),
        maybe("cluster_id", TEXT.about("The name: what events call it")),
        maybe("description", TEXT),
        maybe("status", words(ClusterStatus::WORDS)),
        maybe("version", TEXT.about("Of Kubernetes, which is not here: always empty, as `master_endpoint`")),
        maybe("created_at", TIME),
        maybe("updated_at", TIME),
        maybe("deleted_at", TIME.nullable()),
        maybe("master_endpoint", TEXT),
        maybe("nodes", list(&model(&NODE))),
    ])
    .about("With `envelope=data`, all of this is in `data`"),
};

const NEW_CLUSTER: Model = Model {
    name: "NewCluster",
    schema: open_object(&[
        always("name", CALLED),
        maybe("description", LONG.nullable()),
        maybe("status", words(ClusterStatus::WORDS).nullable()),
    ]),
};

const CLUSTER_CHANGE: Model = Model {
    name: "ClusterChange",
    schema: open_object(&[
        maybe("name", CALLED.nullable()),
        maybe("description", LONG.nullable()),
        maybe("status", words(ClusterStatus::WORDS).nullable()),
    ]),
};

const NODE: Model = Model {
    name: "Node",
    schema: open_object(&[
        maybe("id", COUNT),
        maybe("name", TEXT),
        maybe("node_id", TEXT.about("The name: what events call it")),
        maybe("ip_address", TEXT),
        maybe("mac_address", TEXT),
        maybe("status", NODE_STATUS),
        maybe("role", words(NodeRole::WORDS)),
        maybe("created_at", TIME),
        maybe("updated_at", TIME),
        maybe("deleted_at", TIME.nullable()),
        maybe("architecture", TEXT),
        maybe("model", TEXT),
        maybe("serial_number", TEXT),
        maybe("cpu_cores", COUNT),
        maybe("memory", COUNT.about("Bytes")),
        maybe("cluster_id", COUNT.nullable()),
        maybe("kube_version", TEXT),
        maybe("node_name", TEXT),
        maybe("os_version", TEXT),
        maybe("kernel_version", TEXT),
        maybe("server_id", UUID.nullable().about("The server whose agent runs on it")),
        maybe("last_seen", TIME.nullable()),
    ])
    .about("What is not known is empty or 0. With `envelope=data`, all of this is in `data`"),
};

const NEW_NODE: Model = Model {
    name: "NewNode",
    schema: open_object(&[
        always("name", CALLED),
        always("ip_address", LONG.least(1)),
        always("mac_address", LONG.least(1)),
        always("role", words(NodeRole::WORDS)),
        maybe("status", NODE_STATUS.nullable()),
        maybe("architecture", LONG.nullable()),
        maybe("model", LONG.nullable()),
        maybe("serial_number", LONG.nullable()),
        maybe("cpu_cores", COUNT.max(4_294_967_295.0).nullable()),
        maybe("memory", COUNT.nullable()),
        maybe("os_version", LONG.nullable()),
        maybe("kernel_version", LONG.nullable()),
    ]),
};

const NODE_CHANGE: Model = Model {
    name: "NodeChange",
    schema: open_object(&[
        maybe("name", CALLED.nullable()),
        maybe("ip_address", LONG.nullable()),
        maybe("mac_address", LONG.nullable()),
        maybe("role", words(NodeRole::WORDS).nullable()),
        maybe("status", NODE_STATUS.nullable()),
    ]),
};

const NODE_LINES: Model = Model {
    name: "NodeLines",
    schema: open_object(&[
        always("gpio_devices", list(&model(&NODE_LINE))),
        always("data", list(&model(&NODE_LINE))),
        always("count", COUNT),
        always("total", COUNT),
        always("node_id", COUNT),
    ]),
};

const NODE_LINE: Model = Model {
    name: "NodeLine",
    schema: open_object(&[
        always("id", COUNT),
        always("name", TEXT),
        always("resource", TEXT),
        always("pin_number", COUNT),
        always("direction", words(&["input", "output"]).nullable()),
        always("pull_mode", words(&["none", "up", "down"])),
        always("value", COUNT.max(1.0).nullable()),
        always("device_type", words(&["digital", "pwm"])),
        always("status", words(&["active", "inactive"])),
        always("node_id", COUNT),
        always("reserved_by", TEXT.nullable()),
    ]),
};

const INFO: Model = Model {
    name: "SystemInfo",
    schema: open_object(&[
        always("version", TEXT),
        always("node_id", TEXT),
        always("os", TEXT),
        always("arch", TEXT),
        always("model", TEXT.nullable()),
        always("cpu_count", COUNT),
        always("goroutines", COUNT.about("Threads")),
        always("timestamp", TIME),
        always("uptime", TEXT),
    ]),
};

const PROCESS_FIGURES: Model = Model {
    name: "ProcessFigures",
    schema: open_object(&[
        always("uptime_seconds", NUMBER.min(0.0)),
        always("goroutines_count", COUNT.about("Threads")),
        always("memory_alloc", COUNT.nullable().about("Resident, in bytes")),
        always("memory_sys", COUNT.nullable()),
        always("timestamp", COUNT.about("Unix time")),
    ]),
};
