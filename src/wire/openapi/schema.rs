//! What values look like, and its JSON Schema (the part of it that OpenAPI 3.0 has).

use super::super::chatops::write::Object;
use super::names::Names;

/// What a value looks like.
#[derive(Clone, Copy)]
pub struct Schema {
    kind: Kind,
    about: &'static str,
    nullable: bool,
    /// JSON; empty: none.
    example: &'static str,
    range: (Option<f64>, Option<f64>),
    /// Elements, or characters.
    count: (Option<u32>, Option<u32>),
}

#[derive(Clone, Copy)]
enum Kind {
    Any,
    Text,
    /// Text of a form that has a name.
    Form(&'static str),
    Words(&'static [&'static str]),
    Number,
    Whole,
    Flag,
    List(&'static Schema),
    Map(&'static Schema),
    /// Described where it stands.
    Object(&'static [Member], bool),
    /// Described once.
    Model(&'static Model),
    Either(&'static [Schema]),
}

/// An object that is described once, under its name.
pub struct Model {
    pub name: &'static str,
    pub schema: Schema,
}

/// A member of an object.
pub struct Member {
    pub name: &'static str,
    pub required: bool,
    pub schema: Schema,
}

/// A member that is always there; in a request: that has to be.
pub const fn always(name: &'static str, schema: Schema) -> Member {
    Member { name, required: true, schema }
}

/// A member that may be left out.
pub const fn maybe(name: &'static str, schema: Schema) -> Member {
    Member { name, required: false, schema }
}

pub const ANY: Schema = Schema::of(Kind::Any);
pub const TEXT: Schema = Schema::of(Kind::Text);
pub const NUMBER: Schema = Schema::of(Kind::Number);
pub const WHOLE: Schema = Schema::of(Kind::Whole);
pub const FLAG: Schema = Schema::of(Kind::Flag);
/// RFC 3339.
pub const TIME: Schema = Schema::of(Kind::Form("date-time"));
pub const UUID: Schema = Schema::of(Kind::Form("uuid"));
/// A number of things.
pub const COUNT: Schema = WHOLE.min(0.0);
pub const PERCENT: Schema = NUMBER.min(0.0).max(100.0);

/// One of these words; null alone, where there are none.
pub const fn words(words: &'static [&'static str]) -> Schema {
    Schema::of(Kind::Words(words))
}

/// Text of a form that JSON Schema has a name for.
pub const fn of_form(name: &'static str) -> Schema {
    Schema::of(Kind::Form(name))
}

pub const fn list(of: &'static Schema) -> Schema {
    Schema::of(Kind::List(of))
}

/// An object whose members are named by data.
pub const fn map(of: &'static Schema) -> Schema {
    Schema::of(Kind::Map(of))
}

/// An object with these members and no others.
pub const fn object(members: &'static [Member]) -> Schema {
    Schema::of(Kind::Object(members, false))
}

/// An object in which other members are ignored (of a request), or mean what others say (of an answer).
pub const fn open_object(members: &'static [Member]) -> Schema {
    Schema::of(Kind::Object(members, true))
}

pub const fn model(model: &'static Model) -> Schema {
    Schema::of(Kind::Model(model))
}

pub const fn either(schemas: &'static [Schema]) -> Schema {
    Schema::of(Kind::Either(schemas))
}

impl Schema {
    const fn of(kind: Kind) -> Schema {
        let (range, count) = ((None, None), (None, None));
        Schema { kind, about: "", nullable: false, example: "", range, count }
    }

    pub const fn about(self, about: &'static str) -> Schema {
        Schema { about, ..self }
    }

    pub const fn nullable(self) -> Schema {
        Schema { nullable: true, ..self }
    }

    /// JSON text.
    pub const fn example(self, example: &'static str) -> Schema {
        Schema { example, ..self }
    }

    pub const fn min(self, min: f64) -> Schema {
        Schema { range: (Some(min), self.range.1), ..self }
    }

    pub const fn max(self, max: f64) -> Schema {
        Schema { range: (self.range.0, Some(max)), ..self }
    }

    /// At least so many characters, or elements.
    pub const fn least(self, count: u32) -> Schema {
        Schema { count: (Some(count), self.count.1), ..self }
    }

    /// At most so many characters, or elements.
    pub const fn most(self, count: u32) -> Schema {
        Schema { count: (self.count.0, Some(count)), ..self }
    }

    /// Notes every model in it.
    pub fn collect(&self, models: &mut Names<Model>) {
        match &self.kind {
            Kind::List(of) | Kind::Map(of) => of.collect(models),
            Kind::Object(members, _) => members.iter().for_each(|member| member.schema.collect(models)),
            Kind::Either(schemas) => schemas.iter().for_each(|schema| schema.collect(models)),
            Kind::Model(model) if models.add(model.name, model) => model.schema.collect(models),
            _ => {}
        }
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        let object = Object::open(out);
        if let Kind::Model(model) = &self.kind {
            return object.text("$ref", &format!("#/components/schemas/{}", model.name)).close();
        }
        let object = match self.type_name() {
            "" => object,
            name => object.text("type", name),
        };
        let object = object.text_if("description", some(self.about));
        let object = if self.nullable { object.bool("nullable", true) } else { object };
        let object = match &self.kind {
            Kind::Form(name) => object.text("format", name),
            Kind::Words(words) => object.list("enum", self.words(words), |out, word| match word {
                Some(word) => super::super::picloud::string(out, word),
                None => out.extend(b"null"),
            }),
            Kind::List(of) => object.with("items", |out| of.write(out)),
            Kind::Map(of) => object.with("additionalProperties", |out| of.write(out)),
            Kind::Object(members, open) => write_members(object, members, *open),
            Kind::Either(schemas) => object.list("anyOf", *schemas, |out, schema| schema.write(out)),
            _ => object,
        };
        let (min, max) = self.range;
        let (least, most) = self.count_names();
        let object = object.shown_if("minimum", min).shown_if("maximum", max);
        let object = object.shown_if(least, self.count.0).shown_if(most, self.count.1);
        match some(self.example) {
            Some(json) => object.raw("example", json).close(),
            None => object.close(),
        }
    }

    fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::Any | Kind::Either(_) | Kind::Model(_) => "",
            Kind::Text | Kind::Form(_) | Kind::Words(_) => "string",
            Kind::Number => "number",
            Kind::Whole => "integer",
            Kind::Flag => "boolean",
            Kind::List(_) => "array",
            Kind::Map(_) | Kind::Object(..) => "object",
        }
    }

    /// With null, where it may be that: OpenAPI 3.0 asks for both.
    fn words(&self, words: &'static [&'static str]) -> impl Iterator<Item = Option<&'static str>> {
        words.iter().copied().map(Some).chain(self.nullable.then_some(None))
    }

    fn count_names(&self) -> (&'static str, &'static str) {
        match self.kind {
            Kind::List(_) => ("minItems", "maxItems"),
            _ => ("minLength", "maxLength"),
        }
    }
}

fn write_members<'o>(object: Object<'o>, members: &[Member], open: bool) -> Object<'o> {
    let mut required = members.iter().filter(|member| member.required).map(|member| member.name).peekable();
    let object = match required.peek() {
        // An empty list is forbidden.
        Some(_) => object.list("required", required, super::super::picloud::string),
        None => object,
    };
    let object = match members {
        [] => object,
        members => object.object("properties", |object| {
            members.iter().fold(object, |object, member| object.with(member.name, |out| member.schema.write(out)))
        }),
    };
    if open { object } else { object.bool("additionalProperties", false) }
}

pub fn some(text: &'static str) -> Option<&'static str> {
    (!text.is_empty()).then_some(text)
}
