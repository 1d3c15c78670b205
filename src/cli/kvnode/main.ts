import { runProgram } from '../program.ts'

await runProgram(
  {
    name: 'kvnode',
    description: 'A leaderless, replicated key-value store: this program is its peers',
    topics: {},
  },
  process.argv.slice(2),
)
