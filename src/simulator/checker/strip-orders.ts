/**
 * What owners are told to purge, from the wire. Taking the values of a record is a write like others, and
 * what is written next to the same record may reach the disk in one with it: no disk is then ever handed the
 * record without values. That it was to lose them is known from the order alone, which names the very record.
 *
 * A peer that alone owns a key tells nobody.
 */
import type { Bytes } from '../../base/bytes.ts'
import type { KeyspaceId } from '../../base/ids.ts'
import { type Digest, recordDigest } from '../../protocol/hash-tree.ts'
import type { KeyRecord } from '../../protocol/record.ts'
import { encodeRecord } from '../../store/record-codec.ts'
import { unpackFrame } from '../../wire/frame.ts'
import { pack } from '../../wire/msgpack.ts'
import { peerCodec } from '../../wire/peer-messages.ts'

export interface StripOrder {
  readonly keyspaceId: KeyspaceId
  readonly key: Bytes
  /** Of the record whose values go. */
  readonly digest: Digest
}

/** How each message begins that may be one: most frames are not worth taking apart. */
const [HEAD, TAG] = pack(
  peerCodec.encode({
    ...{ type: 'purge', id: 1, number: 1, keyspaceId: 1 as KeyspaceId, step: 'strip', era: 0 },
    ...{ keys: [], digests: [] },
  }),
) as unknown as [number, number]

/** @param frame of one peer to another */
export function stripOrdersIn(frame: Bytes): readonly StripOrder[] {
  if (!mayHold(frame)) return []
  return unpackFrame(frame).flatMap((raw) => {
    const message = peerCodec.decode(raw)
    if (message.type !== 'purge' || message.step !== 'strip') return []
    const { keyspaceId, keys, digests } = message
    return keys.map((key, i) => ({ keyspaceId, key, digest: digests[i] ?? 0n }))
  })
}

export function isOrdered({ keyspaceId, key, digest }: StripOrder, record: KeyRecord): boolean {
  return recordDigest(keyspaceId, key, encodeRecord(key, record)) === digest
}

function mayHold(frame: Bytes): boolean {
  for (let at = frame.indexOf(TAG); at >= 0; at = frame.indexOf(TAG, at + 1)) {
    if (frame[at - 1] === HEAD) return true
  }
  return false
}
