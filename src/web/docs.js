// Draws openapi.json for people. It knows the part of OpenAPI 3.0 that our document uses, and asks nobody else.
'use strict';

let api;

function element(tag, { text, className, ...attributes } = {}, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Follows a `$ref` within the document. */
function resolved(thing) {
  if (!thing?.$ref) return thing;
  return thing.$ref.slice(2).split('/').reduce((at, name) => at[name], api);
}

/** Text with `code`, **bold** and *stress*. */
function inline(text) {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*|\*[^*\s][^*]*\*)/).filter(Boolean).map((part) => {
    if (/^`.+`$/.test(part)) return element('code', { text: part.slice(1, -1) });
    if (/^\*\*.+\*\*$/.test(part)) return element('strong', { text: part.slice(2, -2) });
    if (/^\*.+\*$/.test(part)) return element('em', { text: part.slice(1, -1) });
    return part;
  });
}

/** Paragraphs and lists. */
function prose(text = '') {
  return text.split(/\n\s*\n/).filter(Boolean).map((block) => block.startsWith('- ')
    ? element('ul', {}, ...block.split(/\n?- (?=\S)/).filter(Boolean).map((item) => element('li', {}, ...inline(item))))
    : element('p', {}, ...inline(block)));
}

/** A value that fits the schema, for people to look at. */
function example(schema) {
  const { example: given, type, format, enum: values, properties, additionalProperties: others, items, minItems, anyOf } = resolved(schema);
  if (given !== undefined) return given;
  if (values) return values[0];
  if (anyOf) return example(anyOf[0]);
  switch (type) {
    case 'object': {
      const members = Object.entries(properties ?? {}).map(([name, member]) => [name, example(member)]);
      return Object.fromEntries(others?.type || others?.$ref ? [...members, ['…', example(others)]] : members);
    }
    case 'array': return Array.from({ length: minItems ?? 1 }, () => example(items));
    case 'number': return 0.5;
    case 'integer': return 1;
    case 'boolean': return false;
    default: return { 'date-time': '2026-03-02T08:15:30Z', uuid: '0c9b1a52-6a3e-4f0e-9d9b-3f0a1f0f6f01', email: 'ada@example.org' }[format] ?? '…';
  }
}

/** What a value is, in words. */
function kindOf(schema) {
  const { type, format, enum: values, nullable, minimum, maximum, minLength, maxLength, items, anyOf } = resolved(schema);
  if (anyOf) return anyOf.map(kindOf).join(', or ');
  if (items) return `array of ${kindOf(items)}${nullable ? ' or null' : ''}`;
  const range = [minimum === undefined ? '' : `from ${minimum}`, maximum === undefined ? '' : `to ${maximum}`,
    minLength === undefined ? '' : `from ${minLength} characters`, maxLength === undefined ? '' : `to ${maxLength} characters`].filter(Boolean);
  return [values ? values.filter((value) => value !== null || values.length === 1).map((value) => JSON.stringify(value)).join(', ') : format ?? type,
    ...range, nullable && !(values?.length === 1) ? 'or null' : ''].filter(Boolean).join(' ');
}

function table(head, rows) {
  return element('table', {},
    element('thead', {}, element('tr', {}, ...head.map((text) => element('th', { text, scope: 'col' })))),
    element('tbody', {}, ...rows.map((cells) => element('tr', {}, ...cells.map((cell) =>
      element('td', {}, ...(typeof cell === 'string' ? inline(cell) : [cell])))))));
}

/** The members of an object's schema, nested ones with dotted names, those of a list's elements with brackets. */
function members(schema, prefix = '') {
  const { properties = {}, required = [], items, anyOf } = resolved(schema);
  if (items) return members(items, `${prefix.replace(/\.$/, '')}[].`);
  if (anyOf) return anyOf.flatMap((one) => members(one, prefix));
  return Object.entries(properties).flatMap(([name, member]) => {
    const { description = '' } = resolved(member);
    const row = [element('code', { text: prefix + name }), kindOf(member), required.includes(name) ? 'always' : 'optional', description];
    return [row, ...members(member, `${prefix}${name}.`)];
  });
}

function body(content = {}, withMembers = true) {
  return Object.entries(content).flatMap(([kind, { schema, example: given }]) => {
    const value = given ?? (kind === 'application/json' ? example(schema) : resolved(schema).example);
    const rows = withMembers ? members(schema) : [];
    return [
      element('p', { className: 'quiet', text: kind }),
      ...(value === undefined ? [] : [element('pre', { tabindex: 0, text: typeof value === 'string' ? value : JSON.stringify(value, null, 2) })]),
      ...(rows.length ? [table(['Member', 'Type', '', 'Meaning'], rows)] : []),
    ];
  });
}

/** A command that does it. */
function curl(method, path, operation, parameters) {
  const parts = ['curl'];
  if (method === 'head') parts.push('-I');
  else if (method !== 'get') parts.push('-X', method.toUpperCase());
  if ((operation.security ?? api.security).length) parts.push('-H "X-API-Key: $KEY"');
  let url = new URL(path.slice(1), new URL('./', location.href)).href.replaceAll('%7B', '{').replaceAll('%7D', '}');
  for (const { name, in: place, example: value } of parameters) {
    if (place === 'path') url = url.replace(`{${name}}`, value ?? 'ID');
    if (place === 'header' && value) parts.push(`-H '${name}: ${value}'`);
  }
  const sent = operation.requestBody?.content['application/json'];
  if (sent) parts.push(`-H 'Content-Type: application/json' -d '${JSON.stringify(sent.example ?? example(sent.schema))}'`);
  return [...parts, url].join(' ');
}

function operation(path, method, what, shared) {
  const parameters = [...shared, ...(what.parameters ?? [])].map(resolved);
  const open = (what.security ?? api.security).length === 0;
  return element('details', { id: what.operationId },
    element('summary', {},
      element('span', { className: 'method', text: method.toUpperCase() }),
      element('code', { className: 'path', text: path }), what.summary),
    ...prose(what.description),
    ...(open ? [element('p', { className: 'quiet', text: 'Needs no key.' })] : []),
    element('pre', { tabindex: 0, text: curl(method, path, what, parameters) }),
    ...(parameters.length ? [element('h3', { text: 'Parameters' }),
      table(['Name', 'In', '', 'Meaning'], parameters.map((parameter) => [element('code', { text: parameter.name }),
        parameter.in, parameter.required ? 'always' : 'optional',
        [parameter.description, kindOf(parameter.schema) === 'string' ? '' : `(${kindOf(parameter.schema)})`].filter(Boolean).join(' ')]))] : []),
    ...(what.requestBody ? [element('h3', { text: 'Body' }), ...body(what.requestBody.content)] : []),
    ...Object.entries(what.responses).flatMap(([status, response]) => {
      const { description, content } = resolved(response);
      return [element('h3', {}, `${status}: `, ...inline(description)), ...body(content, status < '400')]; // a refusal's example says it all
    }));
}

function ways() {
  const rows = Object.values(api.components.securitySchemes).map(({ type, in: place, name, description = '' }) =>
    [element('code', { text: type === 'http' ? 'Authorization: Bearer KEY' : place === 'header' ? `${name}: KEY` : `?${name}=KEY` }), description]);
  return element('section', {}, element('h2', { text: 'Security: ways to show the key' }), table(['Form', ''], rows));
}

function draw() {
  const { title, version, description } = api.info;
  document.getElementById('title').textContent = `${title} ${version}`;
  const groups = api.tags.map((tag) => element('section', { id: tag.name },
    element('h2', { text: tag.name }), ...prose(tag.description),
    ...Object.entries(api.paths).flatMap(([path, { parameters = [], ...operations }]) => Object.entries(operations)
      .filter(([, what]) => what.tags.includes(tag.name))
      .map(([method, what]) => operation(path, method, what, parameters)))));
  document.getElementById('main').replaceChildren(element('section', {}, ...prose(description)), ways(), ...groups);
  // A link to one operation opens it.
  const wanted = location.hash && document.getElementById(location.hash.slice(1));
  if (wanted) {
    wanted.open = true;
    wanted.scrollIntoView();
  }
}

fetch('openapi.json')
  .then((answer) => answer.json())
  .then((found) => { api = found; draw(); })
  .catch((error) => { document.getElementById('wait').textContent = `The description cannot be read: ${error.message}`; });
