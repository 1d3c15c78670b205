import { runProgram } from '../program.ts'

await runProgram(
  {
    name: 'kvctl',
    description: 'Talks to a kvnode cluster, through any of its peers',
    topics: { keyspace: { description: 'make, list and drop keyspaces' } },
  },
  process.argv.slice(2),
)
