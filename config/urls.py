"""Lists every path. A path under /v1 without a view answers with a problem, also while debugging."""

from django.contrib import admin
from django.urls import include, path, re_path
from django.views.decorators.cache import cache_control

from accounts import log_ins
from accounts.web import second_factor_pages
from config import error_pages, finder, problems, try_page, views
from config.dashboard import page

own = admin.site.admin_view
urlpatterns = [
    path("v1/", include("searches.api.urls")),
    path("v1/", include("billing.urls")),
    path("v1/", include("billing.api_keys.urls")),
    path("v1/", include("providers.api.urls")),
    path("v1/", include("accounts.webhooks.urls")),
    path("v1/", include("accounts.urls")),
    path("v1/openapi.json", views.openapi_document),
    re_path(r"^v1(?:/|\Z)", problems.no_such_path),
    path("docs", views.docs),
    path("docs/errors", error_pages.errors),
    path("key_check", views.KeyCheck.as_view()),
    path("", try_page.page),
    path("admin", views.leading_to("/admin/")),
    path("admin/login/", log_ins.signing_in(admin.site.login)),
    path("admin/password_change/", admin.site.admin_view(log_ins.changing_password(admin.site.password_change))),
    path("admin/second_factor/", own(second_factor_pages.page), name="second_factor"),
    path("admin/second_factor/set_up/", own(second_factor_pages.set_up), name="second_factor_set_up"),
    path("admin/log_out_everywhere/", own(second_factor_pages.log_out_everywhere), name="log_out_everywhere"),
    # The texts of scripts in the admin, which no row and no operator changes.
    path("admin/jsi18n/", cache_control(private=True, max_age=86_400)(admin.site.i18n_javascript), name="script_texts"),
    # Django would redirect from here to a row's page; no row has one outside the admin.
    path("admin/r/<path:rest>", views.no_such_page),
    path("admin/parts", page.parts, name="admin-parts"),
    path("admin/find/", own(finder.page), name="find"),
    path("admin/", admin.site.urls),
]
handler400 = "config.problems.bad_request"
handler403 = "config.problems.forbidden"
handler404 = "config.problems.not_found"
handler500 = "config.problems.server_error"
