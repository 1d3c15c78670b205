/**
 * What a large, idle cluster costs: `node --import tsx test/simulation/idle.ts --peers 1000 --minutes 10`.
 * Starts from a formed cluster and prints bytes per second and peer, connections included, and how many peers
 * anyone wrongly called dead.
 */
import { parseArgs } from 'node:util'
import { isUp } from '../../src/protocol/membership/peer.ts'
import { createSimulation } from '../../src/simulator/simulation.ts'

const { values } = parseArgs({
  options: {
    peers: { type: 'string', default: '1000' },
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string', default: '1' },
  },
})
const [count, minutes] = [Number(values.peers), Number(values.minutes)]
const simulation = createSimulation({
  seed: values.seed,
  peers: count,
  formed: true,
  partitionCount: 512,
})
const cpuBefore = process.cpuUsage()
const cpuSeconds = (): number => {
  const { user, system } = process.cpuUsage(cpuBefore)
  return (user + system) / 1e6
}
await simulation.start()
process.stdout.write(`started: ${cpuSeconds().toFixed(0)} s of CPU\n`)
/** What starting costs is not what idling costs. */
for (let second = 5; second <= 30; second += 5) {
  await simulation.run(5000)
  const sent = simulation.peers.reduce((sum, { traffic }) => sum + traffic().sentBytes, 0)
  const megabytes = (sent / 1e6).toFixed(1)
  process.stdout.write(`${second} s: ${megabytes} MB sent by all; ${cpuSeconds().toFixed(0)} s of CPU\n`)
}
const totals = () => simulation.peers.map(({ traffic }) => traffic().sentBytes + traffic().receivedBytes)
const before = totals()
const connectionsBefore = simulation.peers.map(({ traffic }) => traffic().connections)
for (let minute = 1; minute <= minutes; minute++) {
  await simulation.run(60_000)
  const rates = totals().map((bytes, i) => (bytes - (before[i] as number)) / (minute * 60))
  const mean = rates.reduce((sum, rate) => sum + rate, 0) / count
  const connections = simulation.peers.map(
    ({ traffic }, i) => traffic().connections - (connectionsBefore[i] as number),
  )
  const called = simulation.peers.flatMap(({ node }) => node?.membership.peers() ?? [])
  const dialled = connections.reduce((sum, n) => sum + n, 0)
  const down = called.filter(({ state }) => !isUp(state)).length
  const most = Math.max(...rates).toFixed(0)
  const traffic = `mean ${mean.toFixed(0)} B/s, most ${most} B/s a peer (sent and received)`
  const views = `called down: ${down}; known: ${(called.length / count).toFixed(0)}`
  process.stdout.write(
    `${minute} min: ${traffic}; ${dialled} connections; ${views}; ${cpuSeconds().toFixed(0)} s of CPU\n`,
  )
}
