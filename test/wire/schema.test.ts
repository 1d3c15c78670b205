import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { parseNodeId } from '../../src/base/ids.ts'
import * as field from '../../src/wire/fields.ts'
import {
  bool,
  bytes,
  createMessageCodec,
  type Field,
  float,
  list,
  MalformedMessage,
  type MessageTable,
  optional,
  parsed,
  string,
  struct,
  uint,
  word,
} from '../../src/wire/schema.ts'

const test = suite('schema')

const table = {
  empty: [1, {}],
  full: [
    2,
    {
      id: uint(),
      small: uint(7),
      ratio: float,
      flag: bool,
      name: string(5),
      node: parsed(parseNodeId),
      colour: word(['red', 'green']),
      data: bytes(4, 1),
      many: list(uint(9), 3),
      maybe: optional(string(3)),
      inner: struct({ a: uint(), b: optional(bool) }),
    },
  ],
} as const satisfies MessageTable
const codec = createMessageCodec(table)

const FULL = {
  type: 'full',
  id: 2 ** 53 - 1,
  small: 7,
  ratio: -0.5,
  flag: false,
  name: 'abcde',
  node: parseNodeId('n1'),
  colour: 'green',
  data: Uint8Array.of(1, 2),
  many: [1, 2, 3],
  maybe: null,
  inner: { a: 1, b: true },
} as const

const WRONG = [
  undefined,
  null,
  true,
  -1,
  1.5,
  Number.NaN,
  2 ** 60,
  'text',
  [],
  {},
  Uint8Array.of(1),
  1n,
  new Map(),
]

/** What it takes, and that it takes nothing else of all that is wrong. */
function accepts(kind: Field<unknown>, taken: readonly unknown[]): void {
  for (const raw of taken) assert.not.throws(() => kind.decode(raw), String(raw))
  for (const raw of WRONG.filter((wrong) => !taken.some((good) => Object.is(good, wrong)))) {
    assert.throws(
      () => kind.decode(raw),
      (error: unknown) => error instanceof MalformedMessage,
      `not ${String(raw)}`,
    )
  }
}

test('a message comes back as it was sent', () => {
  assert.equal(codec.decode(codec.encode(FULL)), FULL)
  assert.equal(codec.decode(codec.encode({ type: 'empty' })), { type: 'empty' })
})

test('a message travels as its tag and its fields in the order of their description', () => {
  assert.equal(codec.encode(FULL).slice(0, 4), [2, 2 ** 53 - 1, 7, -0.5])
})

test('what is no array, or has no known tag, is malformed', () => {
  for (const raw of [...WRONG, [99], ['full'], [[1]]]) assert.throws(() => codec.decode(raw), isMalformed)
})

test('a field that is missing is malformed, unless it is optional', () => {
  const raw = codec.encode(FULL)
  assert.throws(() => codec.decode(raw.slice(0, -1)), isMalformed)
  const grown = createMessageCodec({ m: [1, { a: uint(), later: optional(uint()) }] })
  assert.equal(grown.decode([1, 5]), { type: 'm', a: 5, later: null })
})

test('fields that are not known are ignored: a newer version added them', () => {
  assert.equal(codec.decode([...codec.encode(FULL), 'more']), FULL)
})

test('a type that is not in the table, or a tag that is twice, is our own mistake', () => {
  assert.throws(() => codec.encode({ type: 'nope' } as never), /no message 'nope'/)
  assert.throws(() => createMessageCodec({ a: [1, {}], b: [1, {}] }), /tag 1 is used twice/)
})

test('a whole number has a range', () => {
  accepts(uint(7), [0, 7])
  accepts(uint(), [0, Number.MAX_SAFE_INTEGER])
  assert.throws(() => uint(7).decode(8), isMalformed)
})

test('a number is finite', () => {
  accepts(float, [0, -1, 1.5, 2 ** 60])
  assert.throws(() => float.decode(Number.POSITIVE_INFINITY), isMalformed)
})

test('a boolean is one of two', () => accepts(bool, [true, false]))

test('a text has a longest length', () => {
  accepts(string(4), ['', 'text'])
  assert.throws(() => string(3).decode('text'), isMalformed)
})

test('bytes have a shortest and a longest length', () => {
  accepts(bytes(2, 1), [Uint8Array.of(1), WRONG[10]])
  assert.throws(() => bytes(2, 1).decode(new Uint8Array(0)), isMalformed)
  assert.throws(() => bytes(2, 1).decode(new Uint8Array(3)), isMalformed)
})

test('a list has a longest length and one kind of item', () => {
  accepts(list(uint(9), 2), [WRONG[8], [1, 2]])
  assert.throws(() => list(uint(9), 2).decode([1, 2, 3]), isMalformed)
  assert.throws(() => list(uint(9), 2).decode([1, 'a']), isMalformed)
})

test('a word travels as its position, and only known ones are taken', () => {
  const kind = word(['red', 'green'])
  assert.is(kind.encode('green'), 1)
  accepts(kind, [0, 1])
  assert.throws(() => kind.decode(2), isMalformed)
  assert.throws(() => kind.decode('length'), isMalformed)
})

test('whatever a parser throws is malformed', () => {
  const kind = parsed<string>(() => {
    throw new RangeError('too deep')
  })
  assert.throws(() => kind.decode('x'), isMalformed)
})

test('a structure is an array of its fields', () => {
  accepts(struct({ a: uint() }), [[1]])
  assert.throws(() => struct({ a: uint() }).decode([]), isMalformed)
})

test('a level is a word or a number from 1', () => {
  accepts(field.level, ['one', 'quorum', 'all', 1, 4096])
  assert.throws(() => field.level.decode(0), isMalformed)
  assert.throws(() => field.level.decode(4097), isMalformed)
})

test('an error code is one that is known', () => {
  accepts(field.errorCode, ['UNAVAILABLE'])
  assert.throws(() => field.errorCode.decode('toString'), isMalformed)
})

test('whatever arrives is a message or malformed, and nothing else', () => {
  const anything = fc.oneof(
    fc.anything(),
    fc.array(fc.anything()),
    fc.array(fc.anything(), { minLength: 11 }).map((fields) => [2, ...fields]),
  )
  fc.assert(
    fc.property(anything, (raw) => {
      try {
        codec.decode(raw)
      } catch (error) {
        if (!isMalformed(error)) throw error
      }
    }),
  )
})

function isMalformed(error: unknown): boolean {
  return error instanceof MalformedMessage
}

test('what is too long for its receiver is refused by its sender, and nothing else is', () => {
  const sent = fc.record({
    name: fc.string({ maxLength: 8 }),
    data: fc.uint8Array({ maxLength: 6 }),
    many: fc.array(fc.string({ maxLength: 4 }), { maxLength: 5 }),
    maybe: fc.option(fc.string({ maxLength: 5 })),
    inner: fc.string({ maxLength: 4 }).map((a) => ({ a })),
  })
  const shape = {
    ...{ name: string(5), data: bytes(4, 1), many: list(string(3), 3) },
    ...{ maybe: optional(string(3)), inner: struct({ a: string(3) }) },
  }
  const small = createMessageCodec({ m: [1, shape] })
  let taken = 0
  fc.assert(
    fc.property(sent, (fields) => {
      const message = { type: 'm', ...fields } as const
      const accepted = isTaken(() => small.encode(message))
      const raw = [1, ...Object.keys(shape).map((name) => wireForm(fields[name as keyof typeof fields]))]
      assert.is(
        accepted,
        isTaken(() => small.decode(raw)),
      )
      if (!accepted) return
      taken += 1
      assert.equal(small.decode(small.encode(message)), message)
    }),
    { numRuns: 2000 },
  )
  assert.ok(taken > 0)
})

function isTaken(run: () => unknown): boolean {
  try {
    run()
    return true
  } catch (error) {
    if (!(error instanceof MalformedMessage)) throw error
    return false
  }
}

/** Of a field of the message above: a structure is an array of its fields, all others go as they are. */
function wireForm(field: unknown): unknown {
  const isStructure = typeof field === 'object' && field !== null && 'a' in field
  return isStructure ? [field.a] : field
}

test.run()
