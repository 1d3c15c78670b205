/**
 * Messages, described once: the description gives the TypeScript type, the positions on the wire, and the
 * check of everything that a stranger can send. A message travels as an array `[tag, ...fields]` in the order
 * of its description.
 *
 * Fields are only ever added at the end of a message, as `optional`: an older peer ignores them, a newer one
 * reads null.
 */
import { type Bytes, EMPTY_BYTES } from '../base/bytes.ts'

export class MalformedMessage extends Error {
  constructor(what: string) {
    super(`malformed message: ${what}`)
    this.name = 'MalformedMessage'
  }
}

export interface Field<T> {
  /**
   * What goes onto the wire: numbers, strings, bytes, booleans, null, and arrays of these.
   * @throws MalformedMessage on what is longer than `decode` takes: its receiver would cut the link
   */
  encode(value: T): unknown
  /** @throws MalformedMessage on anything but what `encode` gives */
  decode(raw: unknown): T
}

interface AnyField {
  encode(value: never): unknown
  decode(raw: unknown): unknown
}
export type Shape = Readonly<Record<string, AnyField>>
export type ShapeValue<S extends Shape> = { readonly [K in keyof S]: ReturnType<S[K]['decode']> }

/** Message name → its number on the wire and its fields. */
export type MessageTable = Readonly<Record<string, readonly [tag: number, shape: Shape]>>
export type MessageOf<T extends MessageTable> = {
  [K in keyof T & string]: { readonly type: K } & ShapeValue<T[K][1]>
}[keyof T & string]

export interface MessageCodec<M> {
  /** @throws MalformedMessage on what is too long for every receiver */
  encode(message: M): unknown[]
  /** @throws MalformedMessage */
  decode(raw: unknown): M
}

export function createMessageCodec<T extends MessageTable>(table: T): MessageCodec<MessageOf<T>> {
  const encoders = new Map<string, { tag: number; fields: FieldList }>()
  const decoders = new Map<number, { type: string; fields: FieldList }>()
  for (const [type, [tag, shape]] of Object.entries(table)) {
    if (decoders.has(tag)) throw new Error(`message tag ${tag} is used twice`)
    const fields = Object.entries(shape) as FieldList
    encoders.set(type, { tag, fields })
    decoders.set(tag, { type, fields })
  }
  let lastMessage: object | null = null
  let lastRaw: unknown[] = []
  return {
    encode(message) {
      // What goes to several receivers is encoded once: messages are not changed once they were sent.
      if (message === lastMessage) return lastRaw
      const known = encoders.get(message.type)
      if (known === undefined) throw new Error(`no message '${message.type}' in this protocol`)
      lastRaw = encodeFields([known.tag], known.fields, message as Readonly<Record<string, unknown>>)
      lastMessage = message
      return lastRaw
    },
    decode(raw) {
      if (!Array.isArray(raw)) throw new MalformedMessage('not an array')
      const known = decoders.get(raw[0])
      if (known === undefined) throw new MalformedMessage('unknown tag')
      const message: Record<string, unknown> = { type: known.type }
      decodeFields(message, known.fields, raw, 1)
      return message as MessageOf<T>
    },
  }
}

type FieldList = readonly (readonly [string, Field<unknown>])[]

function encodeFields(
  out: unknown[],
  fields: FieldList,
  value: Readonly<Record<string, unknown>>,
): unknown[] {
  for (const [name, field] of fields) out.push(field.encode(value[name]))
  return out
}

function decodeFields(
  into: Record<string, unknown>,
  fields: FieldList,
  raw: readonly unknown[],
  offset: number,
): void {
  let index = offset
  for (const [name, field] of fields) into[name] = field.decode(raw[index++])
}

function check(condition: boolean, what: string): asserts condition {
  if (!condition) throw new MalformedMessage(what)
}

/** A whole number from 0 to `max`. */
export function uint(max: number = Number.MAX_SAFE_INTEGER): Field<number> {
  return {
    encode: (value) => value,
    decode(raw) {
      check(
        typeof raw === 'number' && Number.isInteger(raw) && raw >= 0 && raw <= max,
        'not a whole number in range',
      )
      return raw
    },
  }
}

/** A finite number. */
export const float: Field<number> = {
  encode: (value) => value,
  decode(raw) {
    check(typeof raw === 'number' && Number.isFinite(raw), 'not a number')
    return raw
  },
}

export const bool: Field<boolean> = {
  encode: (value) => value,
  decode(raw) {
    check(typeof raw === 'boolean', 'not a boolean')
    return raw
  },
}

/** Text of at most `maxLength` UTF-16 code units. */
export function string(maxLength: number): Field<string> {
  const checked = (raw: unknown): string => {
    check(typeof raw === 'string' && raw.length <= maxLength, 'not a text of allowed length')
    return raw
  }
  return { encode: checked, decode: checked }
}

/** Text that `parse` accepts, such as an id. Any error of `parse` means malformed. */
export function parsed<T extends string | number>(parse: (raw: unknown) => T): Field<T> {
  return {
    encode: (value) => value,
    decode(raw) {
      try {
        return parse(raw)
      } catch (error) {
        throw new MalformedMessage(error instanceof Error ? error.message : 'unparsable')
      }
    },
  }
}

/** One of a fixed list of words; travels as its position, so words are only ever added at the end. */
export function word<const W extends readonly string[]>(words: W): Field<W[number]> {
  return {
    encode: (value) => words.indexOf(value),
    decode(raw) {
      const found = typeof raw === 'number' ? words[raw] : undefined
      check(found !== undefined, 'not a known word')
      return found
    },
  }
}

/** Bytes, at least `minBytes`, at most `maxBytes`. A view into the frame. */
export function bytes(maxBytes: number, minBytes = 0): Field<Bytes> {
  const checkLength = ({ length }: Bytes): void =>
    check(length >= minBytes && length <= maxBytes, 'bytes of a length that is not allowed')
  return {
    encode(value) {
      checkLength(value)
      return value
    },
    decode(raw) {
      check(raw instanceof Uint8Array, 'not bytes')
      checkLength(raw)
      return raw.length === 0 ? EMPTY_BYTES : raw
    },
  }
}

export function list<T>(item: Field<T>, maxCount: number): Field<readonly T[]> {
  return {
    encode(values) {
      check(values.length <= maxCount, 'not a list of allowed length')
      return values.map((value) => item.encode(value))
    },
    decode(raw) {
      check(Array.isArray(raw) && raw.length <= maxCount, 'not a list of allowed length')
      return raw.map((value) => item.decode(value))
    },
  }
}

/** The value or null; absent on the wire reads as null. */
export function optional<T>(field: Field<T>): Field<T | null> {
  return {
    encode: (value) => (value === null || value === undefined ? null : field.encode(value)),
    decode: (raw) => (raw === null || raw === undefined ? null : field.decode(raw)),
  }
}

/** A structure within a message: an array of its fields. */
export function struct<S extends Shape>(shape: S): Field<ShapeValue<S>> {
  const fields = Object.entries(shape) as FieldList
  return {
    encode: (value) => encodeFields([], fields, value as Readonly<Record<string, unknown>>),
    decode(raw) {
      check(Array.isArray(raw), 'not a structure')
      const value: Record<string, unknown> = {}
      decodeFields(value, fields, raw, 0)
      return value as ShapeValue<S>
    },
  }
}
