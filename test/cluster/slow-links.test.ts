import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { PeerMessage } from '../../src/wire/peer-messages.ts'
import { linked } from './linked-peers.ts'

const test = suite('slow links')

const inquire = (id: number): PeerMessage => ({ type: 'inquire', id })

test('a link that owes an answer and stays silent is cut after three seconds', async () => {
  const { world, a, b } = await linked()
  world.cut(a, b)
  const link = a.to(b)
  if (link !== null) a.links.ask(link, inquire(1), 0)
  await world.pass(2_900)
  assert.equal(a.losses, [])
  await world.pass(700)
  assert.equal(a.losses, [{ nodeId: b.nodeId, purpose: 'control', cause: 'lost' }])
})

test('a link that is full refuses values, lets words pass, and lives on', async () => {
  const { world, a, b } = await linked()
  const link = a.to(b)
  assert.ok(link)
  const heal = world.cut(a, b)
  const payload = (id: number): PeerMessage => ({ type: 'record', id, record: new Uint8Array(1024 * 1024) })
  const taken: boolean[] = []
  for (let id = 1; id <= 60; id++) {
    taken.push(link.send(payload(id), 1024 * 1024))
    await world.pass(1)
  }
  assert.is(taken.indexOf(false), taken.filter((isTaken) => isTaken).length, 'all up to a point, none after')
  assert.ok(taken.indexOf(false) >= 45 && taken.indexOf(false) <= 50, `${taken.indexOf(false)}`)
  assert.ok(link.send(inquire(61), 0))
  heal()
  await world.pass(5_000)
  assert.is(b.heard.length, taken.indexOf(false) + 1)
  assert.ok(link.send(payload(62), 1024 * 1024))
  assert.equal(a.losses, [])
})

test('a link on which a large message moves slowly is not silent', async () => {
  const { world, a, b } = await linked()
  world.cut(a, b)
  const link = a.to(b)
  assert.ok(link)
  a.links.ask(link, inquire(1), 0)
  for (let i = 0; i < 20; i++) {
    await world.pass(1000)
    link.channel.progressed()
    a.links.ask(link, inquire(2), 0)
  }
  assert.equal(a.losses, [])
  await world.pass(3_600)
  assert.is(a.losses.length, 1)
})

test.run()
