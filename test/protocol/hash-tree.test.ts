import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Bytes, toHex } from '../../src/base/bytes.ts'
import { hash32 } from '../../src/base/hash.ts'
import type { KeyspaceId } from '../../src/base/ids.ts'
import {
  FANOUT,
  foldDigests,
  HashTree,
  LEAF_BITS,
  MAX_LEAF_BITS,
  recordDigest,
  sliceOf,
} from '../../src/protocol/hash-tree.ts'
import { partitionOf } from '../../src/protocol/ring.ts'

const KEYSPACE = 1 as KeyspaceId
const OTHER = 2 as KeyspaceId

const bytes = fc.uint8Array({ minLength: 1, maxLength: 40 })
/** Writes of few keys, so that most replace something. */
const writes = fc.array(fc.tuple(fc.constantFrom(...'abcdefgh'), fc.option(bytes)), { maxLength: 60 })
const distinctKeys = fc.uniqueArray(bytes, { minLength: 2, maxLength: 20, selector: toHex })

const keyOf = (name: string): Bytes => new TextEncoder().encode(name)

function build(records: Iterable<readonly [Bytes, Bytes]>, leafBits?: number): HashTree {
  const tree = new HashTree(leafBits)
  for (const [key, record] of records) put(tree, key, record)
  return tree
}

function put(tree: HashTree, key: Bytes, record: Bytes): void {
  tree.toggle(sliceOf(hash32(key), tree.leafBits), recordDigest(KEYSPACE, key, record))
}

function same(a: HashTree, b: HashTree): void {
  assert.is(a.root, b.root)
  assert.equal([...a.level(a.leafBits)], [...b.level(b.leafBits)])
}

test('a tree that was changed write by write equals one built of what is there in the end', () => {
  fc.assert(
    fc.property(writes, (history) => {
      const tree = new HashTree()
      const held = new Map<string, Bytes>()
      for (const [name, record] of history) {
        const before = held.get(name)
        if (before !== undefined) put(tree, keyOf(name), before)
        if (record === null) held.delete(name)
        else {
          put(tree, keyOf(name), record)
          held.set(name, record)
        }
      }
      same(tree, build([...held].map(([name, record]) => [keyOf(name), record] as const)))
    }),
  )
})

test('a tree does not depend on the order in which records came', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(bytes, bytes)), (records) => {
      same(build(records), build(records.toReversed()))
    }),
  )
})

test('a wide tree folds into the narrow one of the same records', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(bytes, bytes)), fc.integer({ min: 4, max: 12 }), (records, bits) => {
      const wide = build(records, 12)
      assert.equal([...wide.level(bits)], [...build(records, bits).level(bits)])
      assert.equal([...foldDigests(wide.level(bits), 0)], [wide.root])
    }),
  )
})

test('the children of a slice are what it is made of', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(bytes, bytes)),
      fc.integer({ min: 0, max: FANOUT - 1 }),
      (records, index) => {
        const tree = build(records)
        assert.equal([...foldDigests(tree.children(0, 0), 0)], [tree.root])
        const children = tree.children(4, index)
        assert.equal([...foldDigests(children, 0)], [tree.level(4)[index]])
        assert.is(children.length, FANOUT)
      },
    ),
  )
})

test('keys that all missed the same update do not cancel', () => {
  fc.assert(
    fc.property(distinctKeys, bytes, bytes, (keys, before, after) => {
      fc.pre(toHex(before) !== toHex(after))
      const behind = build(keys.map((key) => [key, before] as const))
      const ahead = build(keys.map((key) => [key, after] as const))
      assert.is.not(behind.root, ahead.root)
      assert.is.not(ahead.root, build([]).root)
    }),
  )
})

test('any difference shows at the root and in exactly the leaf of its key', () => {
  fc.assert(
    fc.property(distinctKeys, bytes, bytes, (keys, record, other) => {
      fc.pre(toHex(record) !== toHex(other))
      const [odd, ...rest] = keys as [Bytes, ...Bytes[]]
      const shared = rest.map((key) => [key, record] as const)
      const a = build([...shared, [odd, record]])
      for (const b of [build([...shared, [odd, other]]), build(shared)]) {
        assert.is.not(a.root, b.root)
        const [ours, theirs] = [a.level(LEAF_BITS), b.level(LEAF_BITS)]
        const differing = [...ours.keys()].filter((leaf) => ours[leaf] !== theirs[leaf])
        assert.equal(differing, [sliceOf(hash32(odd), LEAF_BITS)])
      }
    }),
  )
})

test('a record has another digest under another key and in another keyspace', () => {
  fc.assert(
    fc.property(distinctKeys, bytes, ([a, b], record) => {
      const digest = recordDigest(KEYSPACE, a as Bytes, record)
      assert.is.not(digest, recordDigest(KEYSPACE, b as Bytes, record))
      assert.is.not(digest, recordDigest(OTHER, a as Bytes, record))
    }),
  )
})

test('keys of one partition are spread over all leaves, whatever the number of partitions', () => {
  const count = 2 ** MAX_LEAF_BITS
  const leaves = new Set<number>()
  for (let i = 0; i < 400_000 && leaves.size < 2 ** LEAF_BITS; i++) {
    const key = keyOf(`key ${i}`)
    // The highest bits of the partition say which of 64 wider ones it is in.
    if (partitionOf(key, count) >>> 10 === 5) leaves.add(sliceOf(hash32(key), LEAF_BITS))
  }
  assert.is(leaves.size, 2 ** LEAF_BITS)
})

test.run()
