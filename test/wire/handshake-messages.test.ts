import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { parseAddress, parseNodeId } from '../../src/base/ids.ts'
import { MAX_PARTITION_COUNT } from '../../src/protocol/configuration-check.ts'
import { PROTOCOL_VERSION } from '../../src/wire/frame.ts'
import { peerCodec } from '../../src/wire/peer-messages.ts'
import { MalformedMessage } from '../../src/wire/schema.ts'

const test = suite('handshake messages')

const hello = (partitionCount: number) =>
  ({
    type: 'hello',
    protocolVersion: PROTOCOL_VERSION,
    clusterId: null,
    partitionCount,
    hashName: 'xxh32',
    nodeId: parseNodeId('a'),
    generation: 1,
    bootNonce: 'nonce',
    address: parseAddress('10.0.0.1:7000'),
    zone: '',
    weight: 1,
    version: '',
    expects: null,
    era: null,
    closedBelow: null,
  }) as const

test('peers of a cluster with as many partitions as are allowed can shake hands', () => {
  const largest = hello(MAX_PARTITION_COUNT)
  assert.equal(peerCodec.decode(peerCodec.encode(largest)), largest)
  const raw = peerCodec.encode(hello(MAX_PARTITION_COUNT + 1))
  assert.throws(
    () => peerCodec.decode(raw),
    (error: unknown) => error instanceof MalformedMessage,
  )
})

test('a hello of version 1, which had fewer fields, is understood well enough to be refused', () => {
  const raw = peerCodec.encode({ ...hello(8), protocolVersion: 1 })
  assert.equal(peerCodec.decode(raw.slice(0, -2)), { ...hello(8), protocolVersion: 1 })
})

test.run()
