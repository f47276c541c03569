from django.urls import path

from accounts.web import path_converters  # noqa: F401  # registers <id:…>
from accounts.webhooks import views

urlpatterns = [
    path("webhook-endpoints", views.Endpoints.as_view()),
    path("webhook-endpoints/<id:id>", views.OneEndpoint.as_view(), name="webhook-endpoint"),
    path("webhook-endpoints/<id:id>/rotate-secret", views.RotateSecret.as_view()),
    path("webhook-endpoints/<id:id>/test", views.SendTest.as_view()),
    path("webhook-endpoints/<id:id>/redeliver", views.RedeliverRange.as_view()),
    path("webhook-deliveries", views.Deliveries.as_view()),
    path("webhook-deliveries/<id:id>/redeliver", views.Redeliver.as_view()),
]
