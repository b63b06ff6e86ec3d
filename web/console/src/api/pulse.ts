// When the node was last heard: each answer to anything, each piece of a stream. One that answers
// something is there, whatever else it is slow with.

class Pulse {
  /** Milliseconds since 1970; 0 before it was ever heard. */
  heardAt = 0;

  beat() {
    this.heardAt = Date.now();
  }
}

export const pulse = new Pulse();
