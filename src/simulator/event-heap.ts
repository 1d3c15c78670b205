/**
 * A binary heap of events, ordered by time, then by the order in which they were scheduled: so no two are
 * ever equal.
 */

export interface HeapEvent {
  readonly timeMs: number
  readonly sequence: number
}

export interface EventHeap<E extends HeapEvent> {
  readonly size: number
  peek(): E | undefined
  pop(): E | undefined
  push(event: E): void
}

export function createEventHeap<E extends HeapEvent>(): EventHeap<E> {
  const items: E[] = []

  const siftUp = (event: E, start: number): void => {
    let index = start
    while (index > 0) {
      const parentIndex = (index - 1) >> 1
      const parent = items[parentIndex] as E
      if (before(parent, event)) break
      items[index] = parent
      index = parentIndex
    }
    items[index] = event
  }

  const siftDown = (event: E): void => {
    let index = 0
    const firstLeaf = items.length >> 1
    while (index < firstLeaf) {
      let childIndex = 2 * index + 1
      let child = items[childIndex] as E
      const right = items[childIndex + 1]
      if (right !== undefined && before(right, child)) {
        child = right
        childIndex++
      }
      if (before(event, child)) break
      items[index] = child
      index = childIndex
    }
    items[index] = event
  }

  return {
    get size() {
      return items.length
    },
    peek: () => items[0],
    pop() {
      const first = items[0]
      const last = items.pop()
      if (last !== undefined && items.length > 0) siftDown(last)
      return first
    },
    push(event) {
      items.push(event)
      siftUp(event, items.length - 1)
    },
  }
}

function before(a: HeapEvent, b: HeapEvent): boolean {
  return a.timeMs < b.timeMs || (a.timeMs === b.timeMs && a.sequence < b.sequence)
}
