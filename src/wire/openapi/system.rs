//! Readings of the machine.

use super::route::*;
use super::schema::*;
use super::shared::*;

pub const ROUTES: &[Route] = &[
    Route::get("/system", "system", "All readings at once")
        .about(
            "All or nothing: if one of them cannot be read, the answer is 500 with the first \
            reason.",
        )
        .answers(&[answer(200, "The reading", &[json(model(&SYSTEM))]), KEY_NEEDED, SLOWED, FAILED])
        .tag("system"),
    Route::get("/system/platform", "platform", "What machine this is, and what drives its pins")
        .answers(&[answer(200, "The reading", &[json(model(&PLATFORM))]), KEY_NEEDED, SLOWED, FAILED])
        .tag("system"),
    Route::get("/system/temperature", "temperature", "Temperature of the system on chip")
        .answers(&[answer(200, "The reading", &[json(model(&TEMPERATURE))]), KEY_NEEDED, SLOWED, FAILED])
        .tag("system"),
    Route::get("/system/throttle", "throttle", "The firmware's throttling flags")
        .about("Raspberry Pi only: elsewhere there is nobody to ask, and the answer is 500.")
        .answers(&[answer(200, "The reading", &[json(model(&THROTTLE))]), KEY_NEEDED, SLOWED, FAILED])
        .tag("system"),
    Route::get("/system/uptime", "uptime", "Time since boot")
        .answers(&[answer(200, "The reading", &[json(model(&UPTIME))]), KEY_NEEDED, SLOWED, FAILED])
        .tag("system"),
    Route::get("/system/frequency", "frequency", "Clock rates of the ARM cores and of the VideoCore")
        .about("Raspberry Pi only: elsewhere there is nobody to ask, and the answer is 500.")
        .answers(&[answer(200, "The reading", &[json(model(&FREQUENCY))]), KEY_NEEDED, SLOWED, FAILED])
        .tag("system"),
    Route::get("/system/memory", "memory", "Memory")
        .answers(&[answer(200, "The reading", &[json(model(&MEMORY))]), KEY_NEEDED, SLOWED, FAILED])
        .tag("system"),
];

pub const SYSTEM: Model = Model {
    name: "System",
    schema: object(&[
        always("platform", model(&PLATFORM)),
        always("temperature", model(&TEMPERATURE)),
        always("throttle", model(&THROTTLE)),
        always("uptime", model(&UPTIME)),
        always("frequency", model(&FREQUENCY)),
        always("memory", model(&MEMORY)),
    ]),
};

pub const PLATFORM: Model = Model {
    name: "Platform",
    schema: object(&[
        always("machineType", TEXT.example(r#""aarch64""#)),
        always("networkName", TEXT.example(r#""garage""#)),
        always(
            "operatingSystem",
            object(&[always("name", TEXT.example(r#""Linux""#)), always("release", TEXT), always("version", TEXT)]),
        ),
        always(
            "model",
            TEXT.about("The board's name, where the device tree has one")
                .nullable()
                .example(r#""Raspberry Pi 4 Model B Rev 1.4""#),
        ),
        always("gpio", model(&BACKEND)),
    ]),
};

pub const TEMPERATURE: Model =
    Model { name: "Temperature", schema: object(&[always("systemOnChip", model(&CELSIUS))]) };

pub const THROTTLE: Model = Model {
    name: "Throttle",
    schema: object(&[
        always("throttling", FLAG),
        always("throttlingHasOccurred", FLAG.about("Since boot, as all `HasOccurred`")),
        always("underVoltageDetected", FLAG),
        always("underVoltageHasOccurred", FLAG),
        always("armFrequencyCapped", FLAG),
        always("armFrequencyCappingHasOccurred", FLAG),
        always("softTemperatureLimitActive", FLAG),
        always("softTemperatureLimitHasOccurred", FLAG),
    ]),
};

pub const UPTIME: Model = Model {
    name: "Uptime",
    schema: object(&[
        always("seconds", NUMBER.about("Since boot").min(0.0)),
        always("formatted", TEXT.about("The same in words").example(r#""1 day, 2:03:04""#)),
    ]),
};

pub const FREQUENCY: Model =
    Model { name: "Frequency", schema: object(&[always("arm", model(&HERTZ)), always("core", model(&HERTZ))]) };

pub const MEMORY: Model = Model {
    name: "Memory",
    schema: object(&[
        always("total", model(&KILOBYTE)),
        always("free", model(&KILOBYTE)),
        always("available", model(&KILOBYTE)),
    ]),
};

pub const CELSIUS: Model = Model {
    name: "Celsius",
    schema: object(&[
        always("quantity", NUMBER),
        always("prefix", words(&[]).nullable()),
        always("unitOfMeasurement", words(&["CELSIUS"])),
    ]),
};

pub const HERTZ: Model = Model {
    name: "Hertz",
    schema: object(&[
        always("quantity", NUMBER),
        always("prefix", words(&[]).nullable()),
        always("unitOfMeasurement", words(&["HERTZ"])),
    ]),
};

pub const KILOBYTE: Model = Model {
    name: "Kilobyte",
    schema: object(&[
        always("quantity", NUMBER),
        always("prefix", words(&["KILO"])),
        always("unitOfMeasurement", words(&["BYTE"])),
    ])
    .about("In the kernel's kB, which are 1024 bytes"),
};
