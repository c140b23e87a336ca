//! Samples: by HTTP, the latest in both forms, the history.

use super::fleet::*;
use super::route::*;
use super::schema::*;

const TAG: &str = "metrics";

pub const ROUTES: &[Route] = &[
    Route::post("/api/v1/metrics", "sendMetrics", "A sample, from an agent by HTTP")
        .about(
            "With an agent's key, or a user's token and `server_id` in the body. Agents normally \
            use their socket.",
        )
        .body(&[json(model(&SENT_SAMPLE))])
        .answers(SENT)
        .tag(TAG),
    Route::post("/api/v1/metrics/{server_id}", "sendServerMetrics", "A sample of a server")
        .takes(&[SERVER_IN_PATH])
        .body(&[json(model(&SENT_SAMPLE))])
        .answers(SENT)
        .tag(TAG),
    Route::get("/api/v1/metrics/{server_id}", "metrics", "The latest sample, in the documented flat form")
        .takes(&[SERVER_IN_PATH])
        .answers(&[
            answer(200, "The sample", &[json(model(&FLAT_SAMPLE))]),
            UNKNOWN_CALLER,
            NOT_ALLOWED,
            NO_SAMPLE,
            NOT_VALID,
            TOO_MANY,
        ])
        .tag(TAG),
    Route::get("/api/v1/metrics/{server_id}/latest", "latestMetrics", "The latest sample, in the nested form")
        .takes(&[SERVER_IN_PATH])
        .answers(&[
            answer(200, "The sample", &[json(model(&SAMPLE))]),
            UNKNOWN_CALLER,
            NOT_ALLOWED,
            NO_SAMPLE,
            NOT_VALID,
            TOO_MANY,
        ])
        .tag(TAG),
    Route::get("/api/v1/metrics/{server_id}/history", "metricsHistory", "What a server was like")
        .about(
            "Means over 5 s, 1 min or 15 min, by how far back it is. The last hour, if no times \
            are given.",
        )
        .takes(&[
            SERVER_IN_PATH,
            in_query("start_time", TIME, "From then on; also as `start`"),
            in_query("end_time", TIME, "Until then; also as `end`"),
            in_query("limit", WHOLE.min(1.0).max(100_000.0), "How many points to give at most; 1440 if left out"),
        ])
        .answers(&[
            answer(200, "The points, oldest first", &[json(list(&model(&POINT)))]),
            UNKNOWN_CALLER,
            NOT_ALLOWED,
            NOT_YOURS,
            NOT_VALID,
            TOO_MANY,
        ])
        .tag(TAG),
];

const SENT: &[Answer] = &[
    answer(
        201,
        "Taken",
        &[json(open_object(&[always("status", words(&["ok"])), always("message", TEXT)]))
            .example(r#"{"status":"ok","message":"Metrics received"}"#)],
    ),
    answer(400, "`server_id` is missing or no id", DETAIL_BODY),
    UNKNOWN_CALLER,
    answer(403, "The key is not this server's, or the server is somebody else's", DETAIL_BODY),
    NOT_VALID,
    TOO_MANY,
];

const NO_SAMPLE: Answer =
    answer(404, "No such server, or it is somebody else's; or no sample of it has come yet", DETAIL_BODY)
        .named("NoSample");

/// Whole numbers that every reader of JSON has exactly.
const COUNTER: Schema = COUNT.max(9_007_199_254_740_992.0);
const RATE: Schema = NUMBER.min(0.0).max(1e15);
const GB: Schema = NUMBER.min(0.0).max(8e6).about("In GB of 2^30 bytes");

const SPACE: Model = Model {
    name: "Space",
    schema: open_object(&[
        maybe("total_gb", GB),
        maybe("used_gb", GB),
        maybe("available_gb", GB.about("What programs may still have; in GB of 2^30 bytes")),
        maybe("usage_percent", PERCENT),
    ])
    .about("What is not known is left out"),
};

const CPU: Model = Model {
    name: "Cpu",
    schema: open_object(&[
        maybe("usage_percent", PERCENT.about("Of all cores together")),
        maybe("cores", COUNT.max(1024.0)),
        maybe("frequency_mhz", NUMBER.min(0.0).max(1e6)),
        maybe("per_core_percent", list(&PERCENT).most(1024)),
    ]),
};

const DISK: Model = Model {
    name: "Disk",
    schema: open_object(&[
        always("path", TEXT.most(4096).about("Where it is mounted")),
        maybe("total", COUNTER.about("Bytes")),
        maybe("used", COUNTER),
        maybe("free", COUNTER),
        maybe("percent", PERCENT.about("As `df` counts it")),
    ]),
};

const TRAFFIC: Model = Model {
    name: "Traffic",
    schema: open_object(&[
        maybe("bytes_sent", COUNTER.about("Since boot, all interfaces together")),
        maybe("bytes_recv", COUNTER),
        maybe("packets_sent", COUNTER),
        maybe("packets_recv", COUNTER),
    ]),
};

const INTERFACE: Model = Model {
    name: "Interface",
    schema: open_object(&[
        always("interface", TEXT.most(256)),
        maybe("bytes_sent", COUNTER),
        maybe("bytes_recv", COUNTER),
        maybe("packets_sent", COUNTER),
        maybe("packets_recv", COUNTER),
        maybe("sent_bytes_per_second", RATE),
        maybe("recv_bytes_per_second", RATE),
    ]),
};

pub const CONTAINER: Model = Model {
    name: "Container",
    schema: open_object(&[
        always("id", TEXT),
        always("name", TEXT),
        maybe("image", TEXT),
        maybe("status", TEXT.about("Docker's sentence").example(r#""Up 2 hours""#)),
        maybe("state", TEXT.about("Docker's word").example(r#""running""#)),
        maybe("created", TEXT),
        always("ports", list(&model(&PORT))),
    ]),
};

const PORT_NUMBER: Schema = COUNT.max(65_535.0);

const PORT: Model = Model {
    name: "Port",
    schema: open_object(&[
        always("private_port", PORT_NUMBER),
        maybe("public_port", PORT_NUMBER),
        maybe("type", TEXT.about("`tcp`, `udp` or `sctp`")),
    ]),
};

const PROCESS: Model = Model {
    name: "Process",
    schema: open_object(&[
        always("pid", COUNT),
        always("name", TEXT),
        maybe("cpu", NUMBER.min(0.0).about("Percent of one core")),
        maybe("memory", NUMBER.min(0.0).about("Resident, in MiB")),
        maybe("status", TEXT),
        maybe("user", TEXT),
    ]),
};

const LOAD: Schema = list(&LOAD_AVERAGE).least(3).most(3).about("Averages over 1, 5 and 15 minutes");
const LOAD_AVERAGE: Schema = NUMBER.min(0.0).max(1e6);
const CELSIUS: Schema = NUMBER.min(-273.15).max(1000.0);
const THROTTLED: Schema =
    COUNT.max(4_294_967_295.0).about("The firmware's flags: bits 0 to 3 now, 16 to 19 since boot");
const UPTIME: Schema = NUMBER.min(0.0).about("Since boot");
const CLOCK: Schema = FLAG.about("Whether somebody keeps the machine's clock right");

const SAMPLE: Model = Model {
    name: "Sample",
    schema: open_object(&[
        always("server_id", ID),
        maybe("timestamp", TIME),
        always("cpu", model(&CPU)),
        always("memory", model(&SPACE)),
        always("disk", model(&SPACE)),
        always("network", model(&TRAFFIC)),
        maybe("swap", model(&SPACE)),
        maybe("load", LOAD),
        maybe("temperature_celsius", CELSIUS),
        maybe("throttled", THROTTLED),
        maybe("uptime_seconds", UPTIME),
        maybe("clock_synchronised", CLOCK),
        maybe("disks", list(&model(&DISK)).about("Every real disk; `disk` is `/` alone")),
        maybe("interfaces", list(&model(&INTERFACE))),
        always("containers", list(&model(&CONTAINER))),
        always("processes", list(&model(&PROCESS)).about("Those with the most processor time or memory")),
    ])
    .about("What is not known is left out, never zero"),
};

const FLAT_SAMPLE: Model = Model {
    name: "FlatSample",
    schema: open_object(&[
        always("server_id", ID),
        maybe("cpu_percent", PERCENT),
        maybe("memory_percent", PERCENT),
        always("disk_usage", list(&model(&DISK))),
        always("network", list(&model(&INTERFACE))),
        maybe("timestamp", TIME),
        maybe("cpu", model(&CPU)),
        maybe("memory", model(&SPACE)),
        maybe("swap", model(&SPACE)),
        maybe("load", LOAD),
        maybe("temperature_celsius", CELSIUS),
        maybe("throttled", THROTTLED),
        maybe("uptime_seconds", UPTIME),
        maybe("clock_synchronised", CLOCK),
        maybe("containers", list(&model(&CONTAINER))),
        maybe("processes", list(&model(&PROCESS))),
    ]),
};

/// In either form, and in both at once; what else the server's own answers have may come too.
const SENT_SAMPLE: Model = Model {
    name: "SentSample",
    schema: open_object(&[
        maybe("server_id", ID),
        maybe("timestamp", TIME.about("The time of receipt, if left out or odd")),
        maybe("cpu_percent", PERCENT),
        maybe("memory_percent", PERCENT),
        maybe("disk_usage", list(&model(&DISK)).most(128)),
        maybe("cpu", model(&CPU)),
        maybe("memory", model(&SPACE)),
        maybe("disk", model(&SPACE)),
        maybe("network", either(&[model(&TRAFFIC), list(&model(&INTERFACE)).most(512)])),
        maybe("load", LOAD),
        maybe("temperature_celsius", CELSIUS),
    ])
    .about("Nested or flat, as `GET` answers them"),
};

const POINT: Model = Model {
    name: "Point",
    schema: object(&[
        always("timestamp", TIME.about("Where the step begins")),
        always("samples", COUNT.about("How many samples it is the mean of")),
        always("cpu_percent", PERCENT.nullable()),
        always("memory_percent", PERCENT.nullable()),
        always("disk_percent", PERCENT.nullable()),
        always("temperature_celsius", NUMBER.nullable()),
        always("load_1m", NUMBER.min(0.0).nullable()),
        always("bytes_sent", COUNTER.nullable().about("Counters at the step's end")),
        always("bytes_recv", COUNTER.nullable()),
    ]),
};
