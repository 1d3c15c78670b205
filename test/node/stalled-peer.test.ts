import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { text, utf8 } from '../../src/base/bytes.ts'
import { createSimulation } from '../../src/simulator/simulation.ts'

const test = suite('stalled peer')

test('what a peer is sent while it is stopped it does not do when it goes on', async () => {
  const simulation = createSimulation({ seed: 'stalled', peers: 3 })
  await simulation.start()
  const kv = simulation.client()
  for (const last of ['v3', null]) {
    const key = `key of ${last}`
    const { context } = await simulation.settle(kv.put(key, 'v1'))
    const { owners } = await simulation.settle(kv.service.locate('default', utf8(key)))
    const first = simulation.peers.find(({ address }) => address === owners[0])
    assert.ok(first !== undefined)
    await simulation.run(1000)
    const resume = first.pause()
    // The client cuts the silent link, and does it again through another peer.
    const second = await simulation.settle(kv.put(key, 'v2', { context, timeoutMs: 20_000 }))
    const options = { context: second.context, timeoutMs: 20_000 }
    await simulation.settle(last === null ? kv.delete(key, options) : kv.put(key, last, options))
    resume()
    await simulation.run(5000)
    const { values } = await simulation.settle(kv.get(key, { r: 'all' }))
    assert.equal(
      values.map(({ value }) => text(value)),
      last === null ? [] : [last],
    )
  }
  await simulation.stop()
})

test.run()
