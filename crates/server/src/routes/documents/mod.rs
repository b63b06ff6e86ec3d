//! Documents: list, read, replace, edit, delete; their history; their events.

mod change;
mod follow;
mod history;
mod read;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::App;

/// The routes of these files.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(read::list))
        .routes(routes!(read::fetch, change::put, change::edit, change::delete))
        .routes(routes!(history::list))
        .routes(routes!(history::fetch))
        .routes(routes!(history::revert))
        .routes(routes!(follow::events))
}
