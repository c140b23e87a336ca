//! What a route takes and answers.

use super::super::chatops::write::Object;
use super::schema::{ANY, Schema, TEXT, some};

/// One method on one path.
#[derive(Clone, Copy)]
pub struct Route {
    pub method: &'static str,
    /// With its parameters in braces.
    pub path: &'static str,
    /// Unique; what generators of clients call it.
    pub id: &'static str,
    pub tag: &'static str,
    pub summary: &'static str,
    pub about: &'static str,
    /// Those of the path first.
    pub parameters: &'static [Parameter],
    /// In each form in which the body may come; empty: no body.
    pub body: &'static [Content],
    pub answers: &'static [Answer],
    pub asks: Asks,
    /// There for old clients, and of no use to new ones.
    pub deprecated: bool,
}

/// Who may ask.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// Whoever shows a key, or a user's token where there are users.
    Known,
    Anybody,
}

#[derive(Clone, Copy)]
pub struct Parameter {
    pub name: &'static str,
    pub place: Place,
    pub about: &'static str,
    pub schema: Schema,
    /// As it is written in the request, for people; empty: none.
    pub example: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Path,
    Query,
    Header,
}

/// A body in one form.
#[derive(Clone, Copy)]
pub struct Content {
    pub kind: &'static str,
    pub schema: Schema,
    /// JSON; empty: none.
    pub example: &'static str,
}

#[derive(Clone, Copy)]
pub struct Answer {
    pub status: u16,
    /// What several routes answer has a name, and is described once.
    pub name: &'static str,
    pub about: &'static str,
    /// In each form in which it may come; empty: no body.
    pub content: &'static [Content],
}

pub const fn json(schema: Schema) -> Content {
    Content { kind: "application/json", schema, example: "" }
}

pub const fn form(schema: Schema) -> Content {
    Content { kind: "application/x-www-form-urlencoded", schema, example: "" }
}

pub const fn text(schema: Schema) -> Content {
    Content { kind: "text/plain", schema, example: "" }
}

pub const HTML: Content = Content { kind: "text/html", schema: TEXT, example: "" };
/// A tree to who reads YAML, a text to who does not.
pub const YAML: Content = Content { kind: "text/yaml", schema: ANY, example: "" };

impl Content {
    /// JSON text.
    pub const fn example(self, example: &'static str) -> Content {
        Content { example, ..self }
    }
}

pub const fn answer(status: u16, about: &'static str, content: &'static [Content]) -> Answer {
    Answer { status, name: "", about, content }
}

impl Answer {
    pub const fn named(self, name: &'static str) -> Answer {
        Answer { name, ..self }
    }
}

pub const fn in_path(name: &'static str, schema: Schema, about: &'static str, example: &'static str) -> Parameter {
    Parameter { name, place: Place::Path, about, schema, example }
}

pub const fn in_query(name: &'static str, schema: Schema, about: &'static str) -> Parameter {
    Parameter { name, place: Place::Query, about, schema, example: "" }
}

pub const fn in_header(name: &'static str, schema: Schema, about: &'static str) -> Parameter {
    Parameter { name, place: Place::Header, about, schema, example: "" }
}

impl Parameter {
    /// As it is written in the request.
    pub const fn example(self, example: &'static str) -> Parameter {
        Parameter { example, ..self }
    }
}

impl Route {
    const fn new(method: &'static str, path: &'static str, id: &'static str, summary: &'static str) -> Route {
        let asks = Asks::Known;
        Route {
            method,
            path,
            id,
            tag: "",
            summary,
            about: "",
            parameters: &[],
            body: &[],
            answers: &[],
            asks,
            deprecated: false,
        }
    }

    pub const fn get(path: &'static str, id: &'static str, summary: &'static str) -> Route {
        Route::new("get", path, id, summary)
    }

    pub const fn head(path: &'static str, id: &'static str, summary: &'static str) -> Route {
        Route::new("head", path, id, summary)
    }

    pub const fn post(path: &'static str, id: &'static str, summary: &'static str) -> Route {
        Route::new("post", path, id, summary)
    }

    pub const fn put(path: &'static str, id: &'static str, summary: &'static str) -> Route {
        Route::new("put", path, id, summary)
    }

    pub const fn delete(path: &'static str, id: &'static str, summary: &'static str) -> Route {
        Route::new("delete", path, id, summary)
    }

    pub const fn tag(self, tag: &'static str) -> Route {
        Route { tag, ..self }
    }

    pub const fn about(self, about: &'static str) -> Route {
        Route { about, ..self }
    }

    pub const fn takes(self, parameters: &'static [Parameter]) -> Route {
        Route { parameters, ..self }
    }

    pub const fn body(self, body: &'static [Content]) -> Route {
        Route { body, ..self }
    }

    pub const fn answers(self, answers: &'static [Answer]) -> Route {
        Route { answers, ..self }
    }

    /// No key is asked for.
    pub const fn open(self) -> Route {
        Route { asks: Asks::Anybody, ..self }
    }

    pub const fn deprecated(self) -> Route {
        Route { deprecated: true, ..self }
    }

    pub fn path_parameters(&self) -> impl Iterator<Item = &'static Parameter> + use<> {
        self.parameters.iter().filter(|parameter| parameter.place == Place::Path)
    }

    /// Whether `path` is one of these.
    pub fn matches(&self, path: &str) -> bool {
        let (mut own, mut asked) = (self.path.split('/'), path.split('/'));
        loop {
            match (own.next(), asked.next()) {
                (None, None) => return true,
                (Some(own), Some(asked)) if own == asked || (own.starts_with('{') && !asked.is_empty()) => {}
                _ => return false,
            }
        }
    }

    /// The operation's object, the path's parameters left out.
    pub fn write(&self, out: &mut Vec<u8>) {
        let object = Object::open(out).list("tags", [self.tag], super::super::picloud::string);
        let object = object.text("operationId", self.id).text("summary", self.summary);
        let object = object.text_if("description", some(self.about));
        let object = if self.deprecated { object.bool("deprecated", true) } else { object };
        let object = match self.asks {
            Asks::Anybody => object.raw("security", "[]"),
            Asks::Known => object,
        };
        let mut others = self.parameters.iter().filter(|parameter| parameter.place != Place::Path).peekable();
        let object = match others.peek() {
            Some(_) => object.list("parameters", others, |out, parameter| parameter.write(out)),
            None => object,
        };
        let object = match self.body {
            [] => object,
            forms => object.object("requestBody", |object| write_content(object.bool("required", true), forms)),
        };
        object
            .object("responses", |object| {
                self.answers.iter().fold(object, |object, answer| {
                    object.with(&answer.status.to_string(), |out| answer.write_at_its_route(out))
                })
            })
            .close();
    }
}

impl Parameter {
    pub fn write(&self, out: &mut Vec<u8>) {
        let place = match self.place {
            Place::Path => "path",
            Place::Query => "query",
            Place::Header => "header",
        };
        let object = Object::open(out).text("name", self.name).text("in", place);
        let object = object.bool("required", self.place == Place::Path).text_if("description", some(self.about));
        object.with("schema", |out| self.schema.write(out)).text_if("example", some(self.example)).close();
    }
}

impl Answer {
    fn write_at_its_route(&self, out: &mut Vec<u8>) {
        match self.name {
            "" => self.write(out),
            name => Object::open(out).text("$ref", &format!("#/components/responses/{name}")).close(),
        }
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        let object = Object::open(out).text("description", self.about);
        match self.content {
            [] => object.close(),
            forms => write_content(object, forms).close(),
        }
    }
}

fn write_content<'o>(object: Object<'o>, forms: &[Content]) -> Object<'o> {
    object.object("content", |object| {
        forms.iter().fold(object, |object, form| {
            object.object(form.kind, |object| {
                let object = object.with("schema", |out| form.schema.write(out));
                match some(form.example) {
                    Some(json) => object.raw("example", json),
                    None => object,
                }
            })
        })
    })
}
