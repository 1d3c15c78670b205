/**
 * One hash tree for each keyspace and partition that has records on this disk, made with the first of them,
 * and how much these are. In memory; a clean stop saves both as bytes.
 */
import { type Bytes, equalBytes } from '../base/bytes.ts'
import type { KeyspaceId } from '../base/ids.ts'
import {
  type Digest,
  HashTree,
  LEAF_BITS,
  recordDigest,
  replacedDigest,
  sliceOf,
} from '../protocol/hash-tree.ts'
import { ByteReader, ByteWriter, MAX_NUMBER_BYTES, MalformedBytes } from './byte-cursor.ts'
import { Census } from './census.ts'
import { keyspaceOf, partitionOf, userKey } from './keys.ts'
import { isBare } from './record-codec.ts'

/** A small file beside the database. */
export const TREES_FILE = 'hash-trees'
const FORMAT_VERSION = 2
/** Of a leaf: its number, then its digest. */
const LEAF_BYTES = 1 + 8

export interface TreePlace {
  readonly keyspaceId: KeyspaceId
  readonly partition: number
}

export class HashTrees {
  readonly counts = new Census()
  readonly #trees = new Map<KeyspaceId, Map<number, HashTree>>()

  /** Null: no records. */
  find(keyspaceId: KeyspaceId, partition: number): HashTree | null {
    return this.#trees.get(keyspaceId)?.get(partition) ?? null
  }

  /** Where there are records, or were. */
  places(): TreePlace[] {
    return [...this.#trees].flatMap(([keyspaceId, byPartition]) =>
      [...byPartition.keys()].map((partition) => ({ keyspaceId, partition })),
    )
  }

  /** Of all records of a partition; 0: there are none. */
  root(keyspaceId: KeyspaceId, partition: number): Digest {
    return this.find(keyspaceId, partition)?.root ?? 0n
  }

  /**
   * A record is on disk; null: gone from it. To the trees one without values is none: owners purge at
   * different times.
   * @param keyHash `hash32` of the user's key
   * @param before the record it replaced
   */
  wrote(keyHash: number, databaseKey: Bytes, before: Bytes | null, record: Bytes | null): void {
    const keyspaceId = keyspaceOf(databaseKey)
    this.counts.wrote(databaseKey, before, record)
    if (before !== null && record !== null && equalBytes(before, record)) return
    const digest = changeDigest(keyspaceId, userKey(databaseKey), counted(before), counted(record))
    const tree = this.treeOf(keyspaceId, partitionOf(databaseKey))
    tree.toggle(sliceOf(keyHash, tree.leafBits), digest)
  }

  drop(keyspaceId: KeyspaceId): void {
    this.counts.drop(keyspaceId)
    this.#trees.delete(keyspaceId)
  }

  /** In one order, without what is empty: equal trees give equal bytes. */
  encode(): Bytes {
    const trees = [...this.#trees].flatMap(([id, byPartition]) =>
      [...byPartition].map(([partition, tree]) => ({ id, partition, leaves: tree.level(LEAF_BITS) })),
    )
    trees.sort((a, b) => a.id - b.id || a.partition - b.partition)
    const writer = new ByteWriter()
    const treeBytes = 4 + 2 + 4 * MAX_NUMBER_BYTES + LEAF_BYTES * 2 ** LEAF_BITS
    writer.begin(1 + trees.length * treeBytes)
    writer.byte(FORMAT_VERSION)
    for (const { id, partition, leaves } of trees) {
      const count = leaves.reduce((sum, digest) => (digest === 0n ? sum : sum + 1), 0)
      const { records, keys, bytes } = this.counts.at(id, partition)
      if (count === 0 && records === 0) continue
      writer.uint32(id)
      writer.uint16(partition)
      // What a damaged record counted for is not known for sure until its tree was made anew.
      for (const size of [records, keys, bytes]) writer.number(Math.max(0, size))
      writer.number(count)
      leaves.forEach((digest, leaf) => {
        if (digest === 0n) return
        writer.byte(leaf)
        writer.uint32(Number(digest >> 32n))
        writer.uint32(Number(digest & 0xffff_ffffn))
      })
    }
    return writer.end()
  }

  /** @throws MalformedBytes */
  static decode(bytes: Bytes): HashTrees {
    const trees = new HashTrees()
    const reader = new ByteReader(bytes)
    if (reader.byte() !== FORMAT_VERSION) throw new MalformedBytes('trees of another version')
    while (!reader.isAtEnd) {
      const id = reader.uint32() as KeyspaceId
      const partition = reader.uint16()
      const tree = trees.treeOf(id, partition)
      const [records, keys, bytes] = [reader.number(), reader.number(), reader.number()]
      trees.counts.correct(id, partition, trees.counts.at(id, partition), { records, keys, bytes })
      for (let rest = reader.number(2 ** LEAF_BITS); rest > 0; rest--) {
        const leaf = reader.byte()
        tree.toggle(leaf, (BigInt(reader.uint32()) << 32n) | BigInt(reader.uint32()))
      }
    }
    return trees
  }

  /** Made, empty, when there is none. */
  treeOf(keyspaceId: KeyspaceId, partition: number): HashTree {
    let byPartition = this.#trees.get(keyspaceId)
    if (byPartition === undefined) {
      byPartition = new Map()
      this.#trees.set(keyspaceId, byPartition)
    }
    let tree = byPartition.get(partition)
    if (tree === undefined) {
      tree = new HashTree()
      byPartition.set(partition, tree)
    }
    return tree
  }
}

function counted(record: Bytes | null): Bytes | null {
  return record === null || isBare(record) ? null : record
}

function changeDigest(keyspaceId: KeyspaceId, key: Bytes, before: Bytes | null, after: Bytes | null): Digest {
  if (before !== null && after !== null) return replacedDigest(keyspaceId, key, before, after)
  const only = before ?? after
  return only === null ? 0n : recordDigest(keyspaceId, key, only)
}
