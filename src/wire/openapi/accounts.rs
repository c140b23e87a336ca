//! Users and keys of agents.

use super::fleet::*;
use super::route::*;
use super::schema::*;
use crate::types::fleet::Role;

const TAG: &str = "users";
const KEYS: &str = "api-keys";

pub const ROUTES: &[Route] = &[
    Route::post("/api/v1/auth/register", "register", "Make an account")
        .about("Only where `auth.open_registration` is on; otherwise `pinwire user add` makes accounts.")
        .open()
        .body(&[json(model(&REGISTRATION))])
        .answers(&[
            answer(201, "Made, and logged in", &[json(model(&TOKENS))]),
            answer(400, "The e-mail address or the user name is taken, or is none", DETAIL_BODY),
            answer(403, "Accounts are not made here", DETAIL_BODY),
            NOT_VALID,
            TOO_MANY,
            BUSY,
            UNWRITABLE,
        ])
        .tag(TAG),
    Route::post("/api/v1/auth/login", "login", "Log in")
        .about(
            "With the e-mail address or the user name. Each failure makes the next answer to this \
            address slower. A form may come in parts, as FormData sends it.",
        )
        .open()
        .body(&[form(model(&LOGIN_FORM)), json(model(&LOGIN_JSON))])
        .answers(&[
            answer(200, "Tokens", &[json(model(&TOKENS))]),
            answer(401, "Wrong, or the account is disabled", DETAIL_BODY),
            NOT_VALID,
            TOO_MANY,
            BUSY,
            UNWRITABLE,
        ])
        .tag(TAG),
    Route::post("/api/v1/auth/refresh", "refresh", "A new access token")
        .open()
        .body(&[json(open_object(&[always("refresh_token", TEXT.most(8192))]))])
        .answers(&[
            answer(200, "An access token", &[json(model(&ACCESS_TOKEN))]),
            answer(401, "The refresh token is not good, or no longer", DETAIL_BODY),
            NOT_VALID,
            TOO_MANY,
            BUSY,
            UNWRITABLE,
        ])
        .tag(TAG),
    Route::get("/api/v1/auth/me", "me", "Who I am")
        .answers(&[answer(200, "The user", &[json(model(&USER))]), UNKNOWN_CALLER, NOT_ALLOWED, TOO_MANY])
        .tag(TAG),
    Route::get("/api/v1/auth/profile", "profile", "Who I am, under Pi-Controller's name")
        .answers(&[answer(200, "The user", &[json(model(&USER))]), UNKNOWN_CALLER, NOT_ALLOWED, TOO_MANY])
        .tag(TAG),
    Route::put("/api/v1/auth/me", "changeMe", "Change my full name")
        .body(&[json(open_object(&[maybe("full_name", TEXT.most(256).nullable())]))])
        .answers(&[
            answer(200, "The user, changed", &[json(model(&USER))]),
            UNKNOWN_CALLER,
            NOT_ALLOWED,
            NOT_VALID,
            TOO_MANY,
            BUSY,
            UNWRITABLE,
        ])
        .tag(TAG),
    Route::post("/api/v1/auth/change-password", "changePassword", "Change my password")
        .about("Ends every login of the user.")
        .body(&[json(model(&PASSWORD_CHANGE))])
        .answers(&[
            answer(200, "Changed", NOTE_BODY),
            answer(400, "The current password is not that", DETAIL_BODY),
            UNKNOWN_CALLER,
            NOT_ALLOWED,
            NOT_VALID,
            TOO_MANY,
            BUSY,
            UNWRITABLE,
        ])
        .tag(TAG),
    Route::post("/api/v1/auth/logout", "logout", "End this login")
        .about(
            "Its access and refresh tokens are no longer good; so are those of the refresh token's login, where \
            one is sent in the body.",
        )
        .answers(&[answer(200, "Ended", NOTE_BODY), UNKNOWN_CALLER, NOT_ALLOWED, TOO_MANY, BUSY, UNWRITABLE])
        .tag(TAG),
    Route::post("/api/v1/api-keys", "makeApiKey", "Make a key for a server's agent")
        .about(
            "The key itself is in this answer and nowhere else. Two keys may be good at once, so \
            that they can be rotated.",
        )
        .body(&[json(model(&NEW_API_KEY))])
        .answers(&[
            answer(201, "Made", &[json(model(&MADE_API_KEY))]),
            answer(400, "`expires_at` lies in the past", DETAIL_BODY),
            UNKNOWN_CALLER,
            NOT_ALLOWED,
            NOT_YOURS,
            answer(409, "The server has two good keys: take one back first", DETAIL_BODY),
            NOT_VALID,
            TOO_MANY,
            BUSY,
            UNWRITABLE,
        ])
        .tag(KEYS),
    Route::get("/api/v1/api-keys", "apiKeys", "The keys of all servers that I see")
        .answers(&[
            answer(200, "The keys, without themselves", &[json(list(&model(&API_KEY)))]),
            UNKNOWN_CALLER,
            NOT_ALLOWED,
            TOO_MANY,
        ])
        .tag(KEYS),
    Route::get("/api/v1/api-keys/me", "ownApiKey", "What this key is, or which keys are mine")
        .about(
            "With an agent's key, what it is; with a user's token, all keys of the user's \
            servers.",
        )
        .answers(&[
            answer(200, "The key, or the keys", &[json(either(&[model(&OWN_API_KEY), list(&model(&API_KEY))]))]),
            UNKNOWN_CALLER,
            TOO_MANY,
        ])
        .tag(KEYS),
    Route::get("/api/v1/api-keys/server/{server_id}", "serverApiKeys", "A server's keys")
        .takes(&[SERVER_IN_PATH, in_query("active_only", FLAG, "Leave out those that are no longer good")])
        .answers(&[
            answer(200, "The keys, without themselves", &[json(list(&model(&API_KEY)))]),
            UNKNOWN_CALLER,
            NOT_ALLOWED,
            NOT_YOURS,
            NOT_VALID,
            TOO_MANY,
        ])
        .tag(KEYS),
    Route::post("/api/v1/api-keys/{key_id}/deactivate", "deactivateApiKey", "Take a key back")
        .about("Its agent's socket is closed with 1008 at once.")
        .takes(&[KEY])
        .answers(&[
            answer(200, "Taken back", &[json(model(&API_KEY))]),
            UNKNOWN_CALLER,
            NOT_ALLOWED,
            NOT_YOURS,
            NOT_VALID,
            TOO_MANY,
            BUSY,
            UNWRITABLE,
        ])
        .tag(KEYS),
    Route::delete("/api/v1/api-keys/{key_id}", "deleteApiKey", "Take a key back and forget it")
        .takes(&[KEY])
        .answers(&[
            answer(204, "Gone", &[]),
            UNKNOWN_CALLER,
            NOT_ALLOWED,
            NOT_YOURS,
            NOT_VALID,
            TOO_MANY,
            BUSY,
            UNWRITABLE,
        ])
        .tag(KEYS),
];

const KEY: Parameter = in_path("key_id", TEXT, "As `id` in the answer that made it", "0a1b2c3d4e");

const REGISTRATION: Model = Model {
    name: "Registration",
    schema: open_object(&[
        always("email", of_form("email").most(256)),
        always("username", NAME),
        always("password", PASSWORD),
        always("password_confirm", PASSWORD.about("The same once more")),
        maybe("full_name", TEXT.most(256).nullable()),
    ]),
};

const PASSWORD: Schema = of_form("password").least(8).most(1024);

const LOGIN_FORM: Model = Model {
    name: "LoginForm",
    schema: open_object(&[
        always("username", NAME.about("E-mail address or user name")),
        always("password", of_form("password").least(1).most(1024)),
    ]),
};

const LOGIN_JSON: Model = Model {
    name: "LoginJson",
    schema: open_object(&[
        always("username", TEXT.most(256).about("E-mail address or user name; also as `email`")),
        always("password", of_form("password").most(1024)),
    ]),
};

const SECONDS: Schema = COUNT.about("Seconds, of the access token");

const TOKENS: Model = Model {
    name: "Tokens",
    schema: object(&[
        always("access_token", TEXT.about("A JSON web token (HS256); shown as `Authorization: Bearer …`")),
        always("refresh_token", TEXT.about("Good for a new access token, and for nothing else")),
        always("token_type", words(&["bearer"])),
        always("expires_in", SECONDS),
        always("user", model(&USER)),
    ]),
};

const ACCESS_TOKEN: Model = Model {
    name: "AccessToken",
    schema: object(&[
        always("access_token", TEXT),
        always("token_type", words(&["bearer"])),
        always("expires_in", SECONDS),
    ]),
};

const USER: Model = Model {
    name: "User",
    schema: object(&[
        always("email", TEXT),
        always("username", TEXT),
        always("full_name", TEXT.nullable()),
        always("id", ID),
        always("is_active", FLAG),
        always("created_at", TIME),
        always(
            "role",
            words(Role::WORDS).about("`viewer` looks, `operator` changes and commands, `admin` sees everybody's"),
        ),
    ]),
};

const PASSWORD_CHANGE: Model = Model {
    name: "PasswordChange",
    schema: open_object(&[
        always("current_password", of_form("password").most(1024)),
        always("new_password", PASSWORD),
        always("new_password_confirm", PASSWORD.about("The same once more")),
    ]),
};

const NEW_API_KEY: Model = Model {
    name: "NewApiKey",
    schema: open_object(&[
        always("server_id", ID),
        maybe("name", TEXT.most(256).nullable()),
        maybe("expires_at", TIME.nullable().about("Never, if left out")),
    ]),
};

/// The members of a key's description, with the key itself where it was just made.
macro_rules! api_key {
    ($($key:expr)?) => {
        object(&[
            always("name", TEXT.nullable()),
            always("expires_at", TIME.nullable()),
            always("id", TEXT),
            always("server_id", ID),
            $($key,)?
            always("is_active", FLAG),
            always("last_used", TIME.nullable()),
            always("created_at", TIME),
        ])
    };
}

const API_KEY: Model = Model { name: "ApiKey", schema: api_key!() };

const MADE_API_KEY: Model = Model {
    name: "MadeApiKey",
    schema: api_key!(always("key", TEXT.about("To be given to the agent; not kept here"))),
};

const OWN_API_KEY: Model = Model {
    name: "OwnApiKey",
    schema: object(&[
        always("server_id", ID),
        always("key_id", TEXT),
        always("name", TEXT.nullable()),
        always("is_active", FLAG),
    ]),
};
