// A script that leaves a rejection behind that nobody handles.
Promise.reject(null);
'its value';
