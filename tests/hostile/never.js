// A script whose value never comes.
new Promise(() => {});
