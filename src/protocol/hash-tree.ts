/**
 * Hash trees: what two peers compare to find out, with few bytes, which records of a partition they do not
 * share.
 *
 * Intuition: every record has a digest of 64 bits, and a slice of the keys has the XOR of the digests of its
 * records. A write takes the old digest out and puts the new one in, whatever else is there; two slices side
 * by side make a wider one by XOR, so that trees of different widths can be compared, and one array of
 * leaves is the whole tree.
 *
 * Invariants: a tree is a function of the set of records alone, not of the way it came about (changed write
 * by write it equals one built anew); slices of two peers that have equal digests hold equal records, but
 * for a chance of 2^-64. The second rests on hashing all that a record says together with its key: were they
 * hashed apart and XORed, two keys that missed the same update would cancel each other.
 *
 * Source: DeCandia et al., "Dynamo: Amazon's Highly Available Key-value Store", 2007, section 4.7.
 * Deviation: XOR in place of hashing the children's hashes. That is no defence against somebody who chooses
 * records to collide; peers trust each other, and a client who writes such records hurts only his own.
 */
import { assert } from '../base/assert.ts'
import type { Bytes } from '../base/bytes.ts'
import { hash64 } from '../base/hash.ts'
import type { KeyspaceId } from '../base/ids.ts'

/** 64 unsigned bits. Of nothing: 0. */
export type Digest = bigint

/** 256 leaves: with 1,000,000 keys in 512 partitions, 8 keys a leaf. */
export const LEAF_BITS = 8
/** A slice is cut into 16 when it is looked at more closely. */
export const FANOUT_BITS = 4
export const FANOUT = 1 << FANOUT_BITS
/**
 * Leaves are told apart by the lowest bits of the key's `hash32`, the highest of them first. The partition
 * is made of its highest bits; as there are at most 65,536 partitions, these are not among them.
 */
export const MAX_LEAF_BITS = 16
/** Leaves are made so many at a time, when the first record comes to them. */
const PAGE_LEAVES = 16

/** @param record its bytes; equal records have equal bytes (`store/record-codec.ts`) */
export function recordDigest(keyspaceId: KeyspaceId, key: Bytes, record: Bytes): Digest {
  return hash64(record, keyDigest(keyspaceId, key))
}

/** What the digest says when `after` comes in the place of `before`: one out, the other in. */
export function replacedDigest(keyspaceId: KeyspaceId, key: Bytes, before: Bytes, after: Bytes): Digest {
  const seed = keyDigest(keyspaceId, key)
  return hash64(before, seed) ^ hash64(after, seed)
}

function keyDigest(keyspaceId: KeyspaceId, key: Bytes): Digest {
  return hash64(key, BigInt(keyspaceId))
}

/** Which of 2^bits slices a key belongs to. */
export function sliceOf(keyHash: number, bits: number): number {
  return (keyHash & (2 ** MAX_LEAF_BITS - 1)) >>> (MAX_LEAF_BITS - bits)
}

/** The same records in 2^bits slices, of twice that or more: neighbours become one. */
export function foldDigests(digests: BigUint64Array, bits: number): BigUint64Array {
  const folded = new BigUint64Array(2 ** bits)
  const width = digests.length / folded.length
  assert(Number.isInteger(width), 'slices are folded into fewer, a power of two each')
  for (let i = 0; i < digests.length; i++) {
    const place = Math.floor(i / width)
    folded[place] = (folded[place] as bigint) ^ (digests[i] as bigint)
  }
  return folded
}

/** The tree of the records that one peer holds of one keyspace and partition. */
export class HashTree {
  readonly leafBits: number
  readonly #pages: (BigUint64Array | undefined)[]
  #root: Digest = 0n

  constructor(leafBits: number = LEAF_BITS) {
    assert(leafBits >= FANOUT_BITS && leafBits <= MAX_LEAF_BITS, 'a tree has 16 to 65,536 leaves')
    this.leafBits = leafBits
    this.#pages = new Array(2 ** leafBits / PAGE_LEAVES)
  }

  /** Of all records. */
  get root(): Digest {
    return this.#root
  }

  /** Puts a record's digest in, or takes it out again: the same either way. 0 changes nothing. */
  toggle(leaf: number, digest: Digest): void {
    const place = Math.floor(leaf / PAGE_LEAVES)
    let page = this.#pages[place]
    if (page === undefined) {
      assert(leaf >= 0 && leaf < 2 ** this.leafBits, 'the leaf is one of the tree')
      page = new BigUint64Array(PAGE_LEAVES)
      this.#pages[place] = page
    }
    page[leaf % PAGE_LEAVES] = (page[leaf % PAGE_LEAVES] as bigint) ^ digest
    this.#root ^= digest
  }

  /** The digests of all 2^bits slices, the leaves or wider ones. The caller's. */
  level(bits: number): BigUint64Array {
    assert(bits <= this.leafBits, 'a leaf is not cut')
    const leaves = new BigUint64Array(2 ** this.leafBits)
    this.#pages.forEach((page, place) => {
      if (page !== undefined) leaves.set(page, place * PAGE_LEAVES)
    })
    return foldDigests(leaves, bits)
  }

  /** The 16 slices within slice `index` of 2^bits: their digests, in order. */
  children(bits: number, index: number): BigUint64Array {
    return this.level(bits + FANOUT_BITS).subarray(index * FANOUT, (index + 1) * FANOUT)
  }
}
