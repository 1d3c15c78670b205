import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { utf8 } from '../../src/base/bytes.ts'
import { KvError } from '../../src/base/error.ts'
import type { KeyspaceId } from '../../src/base/ids.ts'
import { contextSeed, decodeContext, encodeContext } from '../../src/protocol/context.ts'
import { EMPTY_RECORD } from '../../src/protocol/dvv.ts'
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
        const back = decodeContext(encodeContext(seen, seed), seed)
        assert.equal([...back.vector].sort(), [...seen.vector].sort())
        assert.equal(back.loose, seen.loose)
      }
    }),
  )
})

test('a context of another key, keyspace or cluster is refused', () => {
  const text = encodeContext({ vector: new Map(), loose: [] }, seed)
  assert.ok(isRefused(text, contextSeed(77, space, utf8('other'))))
  assert.ok(isRefused(text, contextSeed(77, 2 as KeyspaceId, utf8('key'))))
  assert.ok(isRefused(text, contextSeed(78, space, utf8('key'))))
  assert.not.ok(isRefused(text))
})

test('anything that is no context is refused, and nothing else is thrown', () => {
  fc.assert(fc.property(fc.string({ maxLength: 200 }), (text) => isRefused(text)))
  assert.ok(isRefused('x'.repeat(100_000)))
})

test('a context is safe in headers and URLs', () => {
  fc.assert(
    fc.property(steps, (history) => {
      for (const record of live(history).records) {
        assert.match(encodeContext((record ?? EMPTY_RECORD).seen, seed), /^[0-9a-z.~-]+$/)
      }
    }),
  )
})

test.run()
