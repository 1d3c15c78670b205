import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { KvError } from '../../src/base/error.ts'
import { type Address, parseAddress, parseNodeId } from '../../src/base/ids.ts'
import { injectFault, listFaults } from '../../src/cli/kvctl/fault-actions.ts'
import type { FaultCommand, PeerPlace } from '../../src/wire/faults.ts'
import { makeProblem } from '../../src/wire/problem.ts'
import { printed } from './printed.ts'

const FORBIDDEN = new KvError('FORBIDDEN', 'failures are simulated only at peers with --enable-faults')

/** Answers `/v1/faults` as a peer does; what it is told is kept. */
class FakePeer {
  readonly told: FaultCommand[] = []
  peers: readonly PeerPlace[] = []
  refuses: KvError | null = null
  refusesCommands: KvError | null = null
  readonly #server: Server

  constructor() {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        const isCommand = request.method === 'POST'
        const error = this.refuses ?? (isCommand ? this.refusesCommands : null)
        if (error === null && isCommand) this.told.push(JSON.parse(Buffer.concat(chunks).toString()))
        const problem = error === null ? null : makeProblem(error.code, error.message)
        response.writeHead(problem?.status ?? 200).end(JSON.stringify(problem ?? this.#report()))
      })
    })
  }

  listen(): Promise<void> {
    return new Promise((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
  }

  close(): Promise<void> {
    this.#server.closeAllConnections()
    return new Promise((resolve) => {
      this.#server.close(() => resolve())
    })
  }

  get address(): Address {
    return parseAddress(`127.0.0.1:${(this.#server.address() as AddressInfo).port}`)
  }

  #report(): object {
    const faults = this.told.map(({ fault }) => `a simulated ${fault}`)
    return {
      ...this.peers.find(({ address }) => address === this.address),
      state: 'up',
      peers: this.peers,
      faults,
    }
  }
}

interface Cluster {
  peers: readonly [FakePeer, FakePeer, FakePeer]
  places: readonly PeerPlace[]
}

const test = suite('kvctl fault at several peers', {} as Cluster)
test.before.each(async (context) => {
  context.peers = [new FakePeer(), new FakePeer(), new FakePeer()]
  for (const peer of context.peers) await peer.listen()
  context.places = context.peers.map(({ address }, n) => ({ nodeId: parseNodeId(`n${n}`), address }))
  for (const peer of context.peers) peer.peers = context.places
})
test.after.each(async ({ peers }) => {
  for (const peer of peers) await peer.close()
})

const PARTITION: FaultCommand = { fault: 'partition', groups: [['n0', 'n1'], ['n2']] }

const asking = ({ address }: FakePeer, json = false) => ({ peers: [address], timeoutMs: 2000, json })

test('when one peer concerned cannot take part, no peer is told anything', async ({ peers, places }) => {
  const [first, second, third] = peers
  second.refuses = FORBIDDEN
  const { error, out } = await printed(() => injectFault(PARTITION, asking(first)))
  assert.is(error?.code, 'FORBIDDEN')
  assert.match(error?.message ?? '', `${second.address}: failures are simulated only`)
  assert.match(error?.message ?? '', 'applied nowhere')
  assert.is(out, '')
  second.refuses = null
  third.peers = places.slice(1)
  const unknown = await printed(() => injectFault(PARTITION, asking(first)))
  assert.is(unknown.error?.code, 'INVALID_ARGUMENT')
  assert.match(unknown.error?.message ?? '', `${third.address}: there is no peer 'n0'`)
  assert.equal(
    peers.map(({ told }) => told.length),
    [0, 0, 0],
  )
})

test('a peer that has no part in it hinders nobody', async ({ peers }) => {
  const [first, second, third] = peers
  second.refuses = FORBIDDEN
  const command: FaultCommand = { fault: 'one-way', from: 'n0', to: 'n2' }
  const { error, out } = await printed(() => injectFault(command, asking(first)))
  assert.is(error, null)
  assert.match(out, /^this is about the peers concerned; about all: 'kvctl fault list'$/m)
  assert.equal([first.told, third.told], [[command], [command]])
})

test('what fails after all looked ready says where it was applied', async ({ peers }) => {
  const [first, second, third] = peers
  second.refusesCommands = new KvError('UNAVAILABLE', 'stopping')
  const { error, out } = await printed(() => injectFault(PARTITION, asking(first)))
  assert.is(error?.code, 'UNAVAILABLE')
  const done = `${first.address}, ${third.address}`
  assert.is(error?.message, `${second.address}: stopping; it was applied at ${done}`)
  assert.match(out, 'a simulated partition')
})

test('list shows those that answer, and a line for each other', async ({ peers }) => {
  const [first, second, third] = peers
  await printed(() => injectFault(PARTITION, asking(first)))
  second.refuses = FORBIDDEN
  const { error, out, err, exitCode } = await printed(() => listFaults(asking(first)))
  assert.is(error, null)
  assert.match(out, first.address)
  assert.match(out, third.address)
  assert.match(out, 'a simulated partition')
  assert.match(err, `warning: ${second.address}: failures are simulated only`)
  assert.is(exitCode, 0, 'it simulates nothing')
  const { out: json } = await printed(() => listFaults(asking(first, true)))
  const { failed } = JSON.parse(json)
  assert.equal(failed, [
    { address: second.address, code: 'FORBIDDEN', message: `${second.address}: ${FORBIDDEN.message}` },
  ])
})

test('heal ends what it reaches, and says where; one that may go on simulating is an error', async ({
  peers,
}) => {
  const [first, second, third] = peers
  second.refuses = FORBIDDEN
  const healed = await printed(() => injectFault({ fault: 'heal' }, asking(first)))
  assert.equal([first.told, third.told], [[{ fault: 'heal' }], [{ fault: 'heal' }]])
  assert.match(healed.out, `healed at ${first.address}, ${third.address}\n`)
  assert.match(healed.err, second.address)
  assert.is(healed.exitCode, 0)
  second.refuses = new KvError('UNAVAILABLE', 'stopping')
  const { exitCode } = await printed(() => injectFault({ fault: 'heal' }, asking(first)))
  assert.is(exitCode, 3)
})

test('of several peers named, one that simulates nothing is passed over', async ({ peers }) => {
  const [first, second] = peers
  first.refuses = FORBIDDEN
  const both = { ...asking(first), peers: [first.address, second.address] }
  assert.is((await printed(() => listFaults(both))).error, null)
  assert.is((await printed(() => listFaults(asking(first)))).error?.code, 'FORBIDDEN')
})

test.run()
