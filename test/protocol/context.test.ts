import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { present } from '../../src/base/assert.ts'
import { utf8 } from '../../src/base/bytes.ts'
import { KvError } from '../../src/base/error.ts'
import { type ActorId, type KeyspaceId, parseActorId } from '../../src/base/ids.ts'
import {
  contextSeed,
  decodeContext,
  encodeContext,
  encodeDots,
  MAX_CONTEXT_LENGTH,
} from '../../src/protocol/context.ts'
import { EMPTY_RECORD } from '../../src/protocol/dvv.ts'
import type { DotSet } from '../../src/protocol/record.ts'
import { live, steps } from './dvv-arbitrary.ts'

const space = 1 as KeyspaceId
const seed = contextSeed(77, space, utf8('key'))

function isRefused(text: string, withSeed = seed): boolean {
  try {
    decodeContext(text, withSeed)
    return false
  } catch (error) {
    return error instanceof KvError && error.code === 'INVALID_ARGUMENT'
  }
}

test('a context comes back as it went out', () => {
  fc.assert(
    fc.property(steps, (history) => {
      for (const record of live(history).records) {
        const { seen } = record ?? EMPTY_RECORD
        const back = decodeContext(present(encodeContext(seen, seed), 'it is short'), seed)
        assert.equal([...back.vector].sort(), [...seen.vector].sort())
        assert.equal(back.loose, seen.loose)
      }
    }),
  )
})

test('a context of another key, keyspace or cluster is refused', () => {
  const text = encodeDots([], seed)
  assert.ok(isRefused(text, contextSeed(77, space, utf8('other'))))
  assert.ok(isRefused(text, contextSeed(77, 2 as KeyspaceId, utf8('key'))))
  assert.ok(isRefused(text, contextSeed(78, space, utf8('key'))))
  assert.not.ok(isRefused(text))
})

const actor = (i: number): ActorId => parseActorId(i.toString(16).padStart(16, '0'))
const ofActors = (count: number): DotSet => ({
  vector: new Map(Array.from({ length: count }, (_, i) => [actor(i), Number.MAX_SAFE_INTEGER])),
  loose: [],
})

test('a context that would be too long for HTTP headers is not made', () => {
  assert.ok((encodeContext(ofActors(280), seed) ?? '').length <= 8 * 1024 + 8)
  assert.is(encodeContext(ofActors(300), seed), null)
  const loose = Array.from({ length: 300 }, (_, i) => ({ actor: actor(i), n: Number.MAX_SAFE_INTEGER }))
  assert.is(encodeContext({ vector: new Map(), loose }, seed), null)
})

test('a context of dots covers those and nothing else, as many as have room', () => {
  const dots = [0, 7, 7].map((i, n) => ({ actor: actor(i), n: n + 1 }))
  const back = decodeContext(encodeDots(dots, seed), seed)
  assert.equal(back, { vector: new Map(), loose: dots })
  const many = Array.from({ length: 10_000 }, (_, i) => ({ actor: actor(i), n: Number.MAX_SAFE_INTEGER }))
  const text = encodeDots(many, seed)
  assert.ok(text.length <= MAX_CONTEXT_LENGTH)
  const { loose } = decodeContext(text, seed)
  assert.equal(loose, many.slice(0, loose.length))
  assert.ok(loose.length > 2000)
})

test('anything that is no context is refused, and nothing else is thrown', () => {
  fc.assert(fc.property(fc.string({ maxLength: 200 }), (text) => isRefused(text)))
  assert.ok(isRefused('x'.repeat(100_000)))
})

test('a context is safe in headers and URLs', () => {
  fc.assert(
    fc.property(steps, (history) => {
      for (const record of live(history).records) {
        const { seen, values } = record ?? EMPTY_RECORD
        const dots = values.map(({ dot }) => dot)
        assert.match(encodeContext(seen, seed) ?? '', /^[0-9a-z.~-]+$/)
        assert.match(encodeDots(dots, seed), /^[0-9a-z.~-]+$/)
      }
    }),
  )
})

test.run()
