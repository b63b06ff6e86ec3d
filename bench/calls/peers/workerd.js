// workerd's hello world: one isolate answers every request.
export default {
  fetch() {
    return Response.json("hello");
  },
};
