import { runProgram } from '../program.ts'

await runProgram(
  {
    name: 'kvctl',
    description: 'Talks to a kvnode cluster, through any of its peers',
    topics: {
      fault: { description: 'simulate failures of running peers' },
      keyspace: { description: 'make, list and drop keyspaces' },
    },
  },
  process.argv.slice(2),
)
